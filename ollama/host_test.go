package ollama

import (
	"strings"
	"testing"
)

func TestParseHost(t *testing.T) {
	tests := []struct{ in, want string }{
		{"", "http://127.0.0.1:11434"},
		{"  ", "http://127.0.0.1:11434"},
		{`""`, "http://127.0.0.1:11434"},
		{"127.0.0.1", "http://127.0.0.1:11434"},
		{"127.0.0.1:11434", "http://127.0.0.1:11434"},
		{" '127.0.0.1:1234' ", "http://127.0.0.1:1234"},
		{`" 127.0.0.1:1234 "`, "http://127.0.0.1:1234"},
		{":1234", "http://127.0.0.1:1234"},
		{"http://:1234", "http://127.0.0.1:1234"},
		{"example.com", "http://example.com:11434"},
		{"EXAMPLE.com:80", "http://example.com"},
		{"http://example.com", "http://example.com"},
		{"HTTP://example.com", "http://example.com"},
		{"http://example.com:80", "http://example.com"},
		{"http://example.com:11434", "http://example.com:11434"},
		{"http://example.com:0080", "http://example.com"},
		{"https://example.com", "https://example.com"},
		{"https://example.com:443/", "https://example.com"},
		{"https://example.com:80", "https://example.com:80"},
		{"ollama.com", "https://ollama.com"},
		{"my_host-1.lan", "http://my_host-1.lan:11434"},
		{"0.0.0.0", "http://127.0.0.1:11434"},
		{"0.0.0.0:1234", "http://127.0.0.1:1234"},
		{"http://0.0.0.0", "http://127.0.0.1"},
		{"::", "http://[::1]:11434"},
		{"[::]:1234", "http://[::1]:1234"},
		{"::1", "http://[::1]:11434"},
		{"[::1]", "http://[::1]:11434"},
		{"[FE80::0:1]:1234", "http://[fe80::1]:1234"},
		{"https://[2001:db8::1]", "https://[2001:db8::1]"},
		{"example.com/", "http://example.com:11434"},
		{"example.com/ollama", "http://example.com:11434/ollama"},
		{"https://example.com/a/b/", "https://example.com/a/b"},
		{"https://example.com/a%2Fb/c%20d", "https://example.com/a%2Fb/c%20d"},
		{"localhost:11434/v1", "http://localhost:11434"},
		{"http://localhost:11434/v1/", "http://localhost:11434"},
		{"http://localhost:11434/api", "http://localhost:11434"},
		{"https://example.com/ollama/api/", "https://example.com/ollama"},
		{"https://example.com/myapi", "https://example.com/myapi"},
	}
	for _, tt := range tests {
		h, err := ParseHost(tt.in)
		if got := h.String(); err != nil || got != tt.want {
			t.Errorf("ParseHost(%q) = %s, %v, want %s", tt.in, got, err, tt.want)
		}
		again, err := ParseHost(h.String())
		if err != nil || again != h {
			t.Errorf("ParseHost(%q) = %s, %v, want the same", h, again, err)
		}
	}
}

func TestParseHostRejects(t *testing.T) {
	tests := []struct{ in, says string }{
		{"ftp://example.com", "neither http nor https"},
		{"unix:///run/ollama.sock", "neither http nor https"},
		{"://example.com", "neither http nor https"},
		{"example.com:port", "port"},
		{"example.com:0", "port"},
		{"example.com:65536", "port"},
		{"example.com:-1", "port"},
		{"example.com:", "port"},
		{"http://user:hunter2@example.com", "user name or password"},
		{"hunter2@example.com:11434", "user name or password"},
		{"ftp://user:hunter2@example.com", "neither http nor https"},
		{"http://user:hunter2@/%zz", "user name or password"},
		{"example.com/?a=b", "query"},
		{"example.com/#a", "fragment"},
		{"example.com?a=b", "query"},
		{"exam ple.com", "holds ' '"},
		{"example.com\x00", `holds '\x00'`},
		{"exämple.com", "holds 'ä'"},
		{"exa%6Dple.com", "holds '%'"},
		{"a:b:c", "holds ':'"},
		{"[fe80::1%eth0]:1234", "zone"},
		{"[::1", "holds '['"},
		{"example.com/%zz", "path"},
		{"example.com/a/../b", "dots"},
		{"example.com/a//b", "empty part"},
	}
	for _, tt := range tests {
		h, err := ParseHost(tt.in)
		if err == nil {
			t.Errorf("ParseHost(%q) = %s, want an error", tt.in, h)
			continue
		}
		for _, says := range []string{tt.says, "127.0.0.1:11434"} {
			if !strings.Contains(err.Error(), says) {
				t.Errorf("ParseHost(%q): %v, want it to say %q", tt.in, err, says)
			}
		}
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("ParseHost(%q): %v, want no password in it", tt.in, err)
		}
	}
}

func TestHostName(t *testing.T) {
	for in, want := range map[string]string{
		"":                           "127.0.0.1:11434",
		"https://example.com/ollama": "example.com/ollama",
	} {
		h, err := ParseHost(in)
		if got := h.Name(); err != nil || got != want {
			t.Errorf("ParseHost(%q).Name() = %s, %v, want %s", in, got, err, want)
		}
	}
}

func FuzzParseHost(f *testing.F) {
	for _, s := range []string{"", ":1", "http://h/p/api", "[::1%25a]", "a/v1/v1//", "h:08", "'0.0.0.0'", "http://h/%2e%2e/"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		h, err := ParseHost(s)
		if err != nil {
			return
		}
		again, err := ParseHost(h.String())
		if err != nil || again != h {
			t.Errorf("ParseHost(%q) = %s, ParseHost of that = %s, %v", s, h, again, err)
		}
		if strings.ContainsAny(h.String(), "@?# \n") || strings.HasSuffix(h.String(), "/") {
			t.Errorf("ParseHost(%q) = %s", s, h)
		}
	})
}
