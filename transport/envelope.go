package transport

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/mark3labs/mcp-go/mcp"
)

// message is the envelope of one JSON-RPC message. Raw fields are slices of the
// bytes that came in, nil where the field is absent.
type message struct {
	body     []byte          // the whole message
	id       json.RawMessage // a string or a number, as the client spelt it
	method   string          // "" for an answer to a request of ours
	params   json.RawMessage
	result   json.RawMessage
	err      json.RawMessage
	token    json.RawMessage // params._meta.progressToken
	cancels  json.RawMessage // params.requestId, of notifications/cancelled
	protocol string          // params._meta["io.modelcontextprotocol/protocolVersion"]
}

// rpcError is a JSON-RPC error to be answered.
type rpcError struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
	Data    any    `json:"data,omitempty"`
}

func (e *rpcError) Error() string { return fmt.Sprintf("%d: %s", e.Code, e.Message) }

func invalidParams(format string, args ...any) *rpcError {
	return &rpcError{Code: mcp.INVALID_PARAMS, Message: fmt.Sprintf(format, args...)}
}

func invalid(format string, args ...any) *rpcError {
	return &rpcError{Code: mcp.INVALID_REQUEST, Message: fmt.Sprintf(format, args...)}
}

// parse reads the envelope of one message in one pass. It is stricter than
// encoding/json, which folds the case of keys and takes the last of two equal
// ones, so that two readers of a message can disagree on what it says
// (CVE-2026-27896). On error the message still has the id, if that was legible.
//
// A byte order mark before the message is skipped, as RFC 8259 allows.
func parse(body []byte) (message, *rpcError) {
	body = bytes.TrimPrefix(body, []byte("\ufeff"))
	s := scanner{data: body, msg: message{body: body}}
	s.space()
	if s.peek() == '[' {
		return message{}, invalid("batches are not supported: send one message at a time")
	}
	isObject := s.peek() == '{'
	if err := s.value(0, inMessage); err != nil {
		return s.msg, err
	}
	if s.space(); s.pos < len(s.data) {
		return message{}, s.syntax("one message expected")
	}
	if !isObject {
		return message{}, invalid("a message is a JSON object")
	}
	return s.msg, s.check()
}

// place says what the object being read is, as only some have known fields.
type place int

const (
	elsewhere place = iota
	inMessage
	inParams
	inMeta
)

// knownFields are the names that mcp-go's decoding would also accept in
// another case.
var knownFields = [...][]string{
	inMessage: {"jsonrpc", "id", "method", "params", "result", "error"},
	inParams: {"_meta", "name", "arguments", "uri", "cursor", "requestId", "protocolVersion", "capabilities",
		"clientInfo", "ref", "argument", "context", "level", "notifications", "inputResponses", "requestState", "task"},
	inMeta: {"progressToken", mcp.MetaKeyProtocolVersion, mcp.MetaKeyClientInfo, mcp.MetaKeyClientCapabilities, mcp.MetaKeyLogLevel},
}

// enter returns the place of the object that stands under key.
func (p place) enter(key []byte) place {
	switch {
	case p == inMessage && string(key) == "params":
		return inParams
	case p == inParams && string(key) == "_meta":
		return inMeta
	}
	return elsewhere
}

// field takes note of one member of an object in a known place.
func (s *scanner) field(in place, key, raw []byte) {
	for _, name := range knownFields[in] {
		if string(key) != name && strings.EqualFold(string(key), name) {
			s.broken(invalid("unknown key %q: did you mean %q", key, name))
		}
	}
	switch in {
	case inMessage:
		s.messageField(key, raw)
	case inParams:
		s.paramsField(key, raw)
	case inMeta:
		s.metaField(key, raw)
	}
}

// paramsField refuses what mcp-go would refuse in the words of encoding/json.
func (s *scanner) paramsField(key, raw []byte) {
	switch string(key) {
	case "requestId":
		s.msg.cancels = raw
	case "_meta":
		if raw[0] != '{' {
			s.broken(invalidParams("_meta must be an object"))
		}
	case "name", "uri", "cursor", "level", "protocolVersion":
		if raw[0] != '"' && string(raw) != "null" {
			s.broken(invalidParams("%s must be a string", key))
		}
	}
}

func (s *scanner) messageField(key, raw []byte) {
	switch string(key) {
	case "jsonrpc":
		s.version = raw[0] == '"' && string(unquote(raw)) == mcp.JSONRPC_VERSION
	case "id":
		s.hasID = true
		s.msg.id = s.identifier(raw)
	case "method":
		s.hasMethod = true
		if s.msg.method = text(raw); s.msg.method == "" {
			s.broken(invalid("method must be a non-empty string"))
		}
	case "params":
		if raw[0] != '{' {
			s.broken(invalidParams("params must be an object"))
		}
		s.msg.params = raw
	case "result":
		s.msg.result = raw
	case "error":
		s.msg.err = raw
	}
}

func (s *scanner) metaField(key, raw []byte) {
	switch string(key) {
	case "progressToken":
		switch {
		case string(raw) == "null":
		case !scalar(raw):
			s.broken(invalidParams("progressToken must be a string or a number"))
		default:
			s.msg.token = raw
		}
	case mcp.MetaKeyProtocolVersion:
		// Else it would be read as a request of an older version, which has none.
		if s.msg.protocol = text(raw); s.msg.protocol == "" {
			s.broken(invalidParams("_meta[%q] must be a non-empty string, such as %q", key, mcp.ProtocolVersion20260728))
		}
	}
}

// identifier returns an id that can be echoed, or nil. MCP allows strings and
// integers only; a fraction is refused, but echoed, so that the client finds
// which request it was.
func (s *scanner) identifier(raw []byte) json.RawMessage {
	if !scalar(raw) {
		s.badID = true
		return nil
	}
	s.badID = raw[0] != '"' && (bytes.IndexByte(raw, '.') >= 0 || bytes.Contains(bytes.ToLower(raw), []byte("e-")))
	return raw
}

// check applies the rules that need the whole message.
func (s *scanner) check() *rpcError {
	switch {
	case s.bad != nil:
		return s.bad
	case s.hasMethod && s.tooLarge != nil: // whoever waits for an answer deals with its numbers
		return s.tooLarge
	case !s.version:
		return invalid(`jsonrpc must be "2.0"`)
	case s.hasMethod && (s.msg.result != nil || s.msg.err != nil):
		return invalid("a message has either a method or a result or an error")
	case s.hasMethod && s.badID:
		return invalid("id must be a string or an integer")
	case !s.hasMethod && s.msg.result == nil && s.msg.err == nil:
		return invalid("method is missing")
	}
	return nil
}

// scalar tells whether raw is a JSON string or number.
func scalar(raw []byte) bool {
	return raw[0] == '"' || raw[0] == '-' || raw[0] >= '0' && raw[0] <= '9'
}

// text returns the string that raw encodes, "" if it is none.
func text(raw []byte) string {
	if raw[0] != '"' {
		return ""
	}
	return string(unquote(raw))
}

// unquote returns what the string raw encodes, without a copy where it can.
func unquote(raw []byte) []byte {
	if bytes.IndexByte(raw, '\\') < 0 {
		return raw[1 : len(raw)-1]
	}
	var s string
	_ = json.Unmarshal(raw, &s) // the scanner has seen that it is a string
	return []byte(s)
}
