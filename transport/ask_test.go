package transport

import (
	"encoding/json"
	"testing"

	"github.com/mark3labs/mcp-go/mcp"
)

func TestCanElicit(t *testing.T) {
	for _, tt := range []struct {
		capabilities, protocol string
		plain, want            bool
	}{
		{capabilities: `{"elicitation":{}}`, want: true},
		{capabilities: `{"elicitation":{"form":{}}}`, want: true},
		{capabilities: `{"elicitation":{"url":{}}}`},
		{capabilities: `{}`},
		{capabilities: `{"elicitation":{}}`, plain: true},
		{capabilities: `{"elicitation":{}}`, plain: true, protocol: mcp.ProtocolVersion20260728, want: true},
		{capabilities: `{}`, protocol: mcp.ProtocolVersion20260728},
	} {
		c := &Call{conn: &conn{plain: tt.plain}, msg: message{protocol: tt.protocol}}
		if err := json.Unmarshal([]byte(tt.capabilities), &c.client.can); err != nil {
			t.Fatal(err)
		}
		if got := c.CanElicit(); got != tt.want {
			t.Errorf("CanElicit of a client with %s, plain %v, protocol %q = %v, want %v", tt.capabilities, tt.plain, tt.protocol, got, tt.want)
		}
	}
}
