package transport

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/mark3labs/mcp-go/mcp"
)

func TestParse(t *testing.T) {
	nested := func(depth int) string {
		return `{"jsonrpc":"2.0","id":1,"method":"m","params":` +
			strings.Repeat(`{"a":`, depth-1) + "1" + strings.Repeat("}", depth-1) + `}`
	}
	manyKeys := func(last string) string {
		var b strings.Builder
		for i := range 40 {
			fmt.Fprintf(&b, `"k%d":0,`, i)
		}
		return `{"jsonrpc":"2.0","id":1,"method":"m","params":{` + b.String() + last + `:1}}`
	}
	arguments := func(a string) string {
		return `{"jsonrpc":"2.0","id":1,"method":"m","params":{"arguments":{"a":` + a + `}}}`
	}
	version := func(v string) string {
		return `{"jsonrpc":"2.0","id":1,"method":"m","params":{"_meta":{"` + mcp.MetaKeyProtocolVersion + `":` + v + `}}}`
	}
	tests := []struct {
		name, in string
		code     int // 0: accepted
		id       string
	}{
		{"request", `{"jsonrpc":"2.0","id":1,"method":"m"}`, 0, "1"},
		{"blanks", " {\t\"jsonrpc\" : \"2.0\" , \"id\":\n1,\"method\":\"m\"}\r", 0, "1"},
		{"id above 2^53", `{"jsonrpc":"2.0","id":9007199254740993,"method":"m"}`, 0, "9007199254740993"},
		{"id with exponent", `{"jsonrpc":"2.0","id":1e2,"method":"m"}`, 0, "1e2"},
		{"string id", `{"jsonrpc":"2.0","id":"7","method":"m"}`, 0, `"7"`},
		{"escaped string id", `{"jsonrpc":"2.0","id":"\u0037","method":"m"}`, 0, `"\u0037"`},
		{"negative id", `{"jsonrpc":"2.0","id":-7,"method":"m"}`, 0, "-7"},
		{"id last", `{"method":"m","jsonrpc":"2.0","id":1}`, 0, "1"},
		{"notification", `{"jsonrpc":"2.0","method":"m"}`, 0, ""},
		{"answer", `{"jsonrpc":"2.0","id":1,"result":{}}`, 0, "1"},
		{"error answer without id", `{"jsonrpc":"2.0","id":null,"error":{}}`, 0, ""},
		{"unknown key", `{"jsonrpc":"2.0","id":1,"method":"m","extra":1}`, 0, "1"},
		{"depth 64", nested(64), 0, "1"},
		{"many keys", manyKeys(`"k40"`), 0, "1"},
		{"arguments may differ in case", `{"jsonrpc":"2.0","id":1,"method":"m","params":{"arguments":{"a":1,"A":2}}}`, 0, "1"},

		{"byte order mark", "\ufeff" + ` {"jsonrpc":"2.0","id":1,"method":"m"}`, 0, "1"},
		{"id of 200 digits", `{"jsonrpc":"2.0","id":` + strings.Repeat("9", 200) + `,"method":"m"}`, 0, strings.Repeat("9", 200)},
		{"largest float", arguments(`1.7976931348623157e+308`), 0, "1"},
		{"smaller than any float", arguments(`1e-9999`), 0, "1"},
		{"308 digits", arguments(strings.Repeat("1", 308)), 0, "1"},
		{"answer beyond floats", `{"jsonrpc":"2.0","id":1,"result":1E400}`, 0, "1"},
		{"cursor is null", `{"jsonrpc":"2.0","id":1,"method":"m","params":{"cursor":null}}`, 0, "1"},
		{"name in arguments", arguments(`{"name":5}`), 0, "1"},

		{"id beyond floats", `{"jsonrpc":"2.0","id":1E400,"method":"m"}`, mcp.INVALID_REQUEST, "1E400"},
		{"token beyond floats", `{"jsonrpc":"2.0","id":1,"method":"m","params":{"_meta":{"progressToken":-1e309}}}`, mcp.INVALID_REQUEST, "1"},
		{"argument beyond floats", arguments(`[{"a":1E400}]`), mcp.INVALID_REQUEST, "1"},
		{"argument of 310 digits", arguments(strings.Repeat("1", 310)), mcp.INVALID_REQUEST, "1"},
		{"two byte order marks", "\ufeff\ufeff{}", mcp.PARSE_ERROR, ""},
		{"name is a number", `{"jsonrpc":"2.0","id":1,"method":"m","params":{"name":5}}`, mcp.INVALID_PARAMS, "1"},
		{"cursor is an object", `{"jsonrpc":"2.0","id":1,"method":"m","params":{"cursor":{}}}`, mcp.INVALID_PARAMS, "1"},
		{"uri is a boolean", `{"jsonrpc":"2.0","id":1,"method":"m","params":{"uri":true}}`, mcp.INVALID_PARAMS, "1"},
		{"version is a number", version(`20260728`), mcp.INVALID_PARAMS, "1"},
		{"version is null", version(`null`), mcp.INVALID_PARAMS, "1"},
		{"version is empty", version(`""`), mcp.INVALID_PARAMS, "1"},

		{"fractional id", `{"jsonrpc":"2.0","id":1.5,"method":"m"}`, mcp.INVALID_REQUEST, "1.5"},
		{"id with negative exponent", `{"jsonrpc":"2.0","id":1E-2,"method":"m"}`, mcp.INVALID_REQUEST, "1E-2"},
		{"null id", `{"jsonrpc":"2.0","id":null,"method":"m"}`, mcp.INVALID_REQUEST, ""},
		{"object id", `{"jsonrpc":"2.0","id":{},"method":"m"}`, mcp.INVALID_REQUEST, ""},
		{"boolean id", `{"jsonrpc":"2.0","id":true,"method":"m"}`, mcp.INVALID_REQUEST, ""},
		{"no version", `{"id":1,"method":"m"}`, mcp.INVALID_REQUEST, "1"},
		{"wrong version", `{"jsonrpc":"1.0","id":1,"method":"m"}`, mcp.INVALID_REQUEST, "1"},
		{"method is a number", `{"jsonrpc":"2.0","method":5,"id":7}`, mcp.INVALID_REQUEST, "7"},
		{"method is empty", `{"jsonrpc":"2.0","method":"","id":7}`, mcp.INVALID_REQUEST, "7"},
		{"no method", `{"jsonrpc":"2.0","id":1}`, mcp.INVALID_REQUEST, "1"},
		{"method and result", `{"jsonrpc":"2.0","id":1,"method":"m","result":1}`, mcp.INVALID_REQUEST, "1"},
		{"folded key", `{"jsonrpc":"2.0","id":1,"Method":"m"}`, mcp.INVALID_REQUEST, "1"},
		{"folded key beside the right one", `{"jsonrpc":"2.0","id":1,"method":"m","METHOD":"n"}`, mcp.INVALID_REQUEST, "1"},
		{"folded key in params", `{"jsonrpc":"2.0","id":1,"method":"m","params":{"Name":"x"}}`, mcp.INVALID_REQUEST, "1"},
		{"key with a Kelvin sign", `{"jsonrpc":"2.0","id":1,"method":"m","params":{"_meta":{"progressTo` + "\u212a" + `en":1}}}`, mcp.INVALID_REQUEST, "1"},
		{"duplicate key", `{"jsonrpc":"2.0","id":1,"method":"m","method":"n"}`, mcp.INVALID_REQUEST, "1"},
		{"duplicate key, escaped", `{"jsonrpc":"2.0","id":1,"method":"m","m\u0065thod":"n"}`, mcp.INVALID_REQUEST, "1"},
		{"duplicate key in arguments", `{"jsonrpc":"2.0","id":1,"method":"m","params":{"arguments":{"a":[{"b":1,"b":2}]}}}`, mcp.INVALID_REQUEST, "1"},
		{"duplicate among many keys", manyKeys(`"k7"`), mcp.INVALID_REQUEST, "1"},
		{"depth 65", nested(65), mcp.INVALID_REQUEST, "1"},
		{"depth 1000", nested(1000), mcp.INVALID_REQUEST, "1"},
		{"batch", `[{"jsonrpc":"2.0","id":1,"method":"m"}]`, mcp.INVALID_REQUEST, ""},
		{"a string", `"hello"`, mcp.INVALID_REQUEST, ""},
		{"params is an array", `{"jsonrpc":"2.0","id":1,"method":"m","params":[1]}`, mcp.INVALID_PARAMS, "1"},
		{"_meta is a string", `{"jsonrpc":"2.0","id":1,"method":"m","params":{"_meta":"x"}}`, mcp.INVALID_PARAMS, "1"},
		{"token is an object", `{"jsonrpc":"2.0","id":1,"method":"m","params":{"_meta":{"progressToken":{}}}}`, mcp.INVALID_PARAMS, "1"},

		{"not JSON", `hello`, mcp.PARSE_ERROR, ""},
		{"cut off", `{"jsonrpc":"2.0","id":1,"method":"m"`, mcp.PARSE_ERROR, "1"},
		{"two messages", `{"jsonrpc":"2.0","id":1,"method":"m"}{}`, mcp.PARSE_ERROR, ""},
		{"trailing comma", `{"jsonrpc":"2.0","id":1,"method":"m",}`, mcp.PARSE_ERROR, "1"},
		{"not UTF-8", "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\xff\"}", mcp.PARSE_ERROR, "1"},
		{"control character", "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"a\tb\"}", mcp.PARSE_ERROR, "1"},
		{"leading zero", `{"id":01}`, mcp.PARSE_ERROR, ""},
		{"bare minus", `{"id":-}`, mcp.PARSE_ERROR, ""},
		{"bad escape", `{"id":"\x"}`, mcp.PARSE_ERROR, ""},
		{"bad hex", "{\"id\":\"\\u00\x10g\"}", mcp.PARSE_ERROR, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m, err := parse([]byte(test.in))
			code := 0
			if err != nil {
				code = err.Code
			}
			if code != test.code || string(m.id) != test.id {
				t.Errorf("parse(%.200q) = id %q, error %v, want id %q, code %d", test.in, m.id, err, test.id, test.code)
			}
		})
	}
}

func TestParseFields(t *testing.T) {
	in := `{"jsonrpc":"2.0","method":"notifications\/cancelled","params":{"requestId":1e2,"_meta":{` +
		`"progressToken":"a\u0062","io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}`
	m, err := parse([]byte(in))
	if err != nil {
		t.Fatalf("parse(%s) = %v", in, err)
	}
	got := fmt.Sprintf("%s %s %s %s", m.method, m.cancels, m.token, m.protocol)
	if want := `notifications/cancelled 1e2 "a\u0062" 2026-07-28`; got != want {
		t.Errorf("parse(%s) = %s, want %s", in, got, want)
	}
}

// FuzzParse checks that what parse accepts is valid for encoding/json too and
// reads the same there, and that what it calls unparsable is not valid.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		`{"jsonrpc":"2.0","id":1,"method":"m","params":{"_meta":{"progressToken":"x"},"name":"n"}}`,
		`{"jsonrpc":"2.0","id":"7","result":{"a":[1.5e3,true,null,"\ud83d\ude00"]}}`,
		`{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":1e308,"b":2E400}}`, `{"jsonrpc":"2.0","id":1,"result":1e400}`,
		`[{}]`, `{"a":{"a":{"a":[[[]]]}}}`, `{"ID":1}`, "\xef\xbb\xbf{}", `{"jsonrpc":"2.0","id":-0,"method":"\u0000"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		m, err := parse(in)
		if err != nil {
			// encoding/json lets invalid UTF-8 pass.
			if err.Code == mcp.PARSE_ERROR && json.Valid(in) && !strings.Contains(err.Message, "UTF-8") {
				t.Fatalf("parse(%q) = %v, want none: it is valid", in, err)
			}
			return
		}
		var want struct {
			ID     json.RawMessage
			Method string
		}
		in = bytes.TrimPrefix(in, []byte("\ufeff"))
		if err := json.Unmarshal(in, &want); err != nil {
			t.Fatalf("parse(%q) = no error, json.Unmarshal: %v", in, err)
		}
		var whole any // with its numbers
		if err := json.Unmarshal(in, &whole); err != nil && m.method != "" {
			t.Fatalf("parse(%q) = no error, json.Unmarshal into any: %v", in, err)
		}
		if string(want.ID) == "null" {
			want.ID = nil
		}
		if m.method != want.Method || string(m.id) != string(want.ID) {
			t.Fatalf("parse(%q) = %q %q, want %q %q", in, m.method, m.id, want.Method, want.ID)
		}
	})
}
