package ollama

import (
	"strings"
	"testing"
)

func TestParseName(t *testing.T) {
	long := strings.Repeat("a", 80)
	tests := []struct {
		in   string
		want Name
	}{
		{"llama3.2", "llama3.2:latest"},
		{"llama3.2:latest", "llama3.2:latest"},
		{"LLaMA3.2", "llama3.2:latest"},
		{"llama3.2:LATEST", "llama3.2:latest"},
		{" llama3.2\n", "llama3.2:latest"},
		{"library/llama3.2", "llama3.2:latest"},
		{"Library/Llama3.2:Latest", "llama3.2:latest"},
		{"registry.ollama.ai/library/llama3.2", "llama3.2:latest"},
		{"registry.ollama.ai/library/llama3.2:latest", "llama3.2:latest"},
		{"Registry.Ollama.AI/Library/Llama3.2", "llama3.2:latest"},
		{"llama3.2:3b", "llama3.2:3b"},
		{"llama3.2:3B-Instruct-Q4_K_M", "llama3.2:3b-instruct-q4_k_m"},
		{"library/llama3.2:3b", "llama3.2:3b"},
		{"registry.ollama.ai/library/llama3.2:3b", "llama3.2:3b"},
		{"user/model", "user/model:latest"},
		{"User/Model:Tag", "user/model:tag"},
		{"registry.ollama.ai/user/model", "user/model:latest"},
		{"registry.ollama.ai/user/model:tag", "user/model:tag"},
		{"hf.co/user/repo", "hf.co/user/repo:latest"},
		{"hf.co/User/Repo-GGUF:Q4_K_M", "hf.co/user/repo-gguf:q4_k_m"},
		{"HF.co/library/repo", "hf.co/library/repo:latest"},
		{"localhost:5000/user/model", "localhost:5000/user/model:latest"},
		{"localhost:5000/library/model:1", "localhost:5000/library/model:1"},
		{"registry.ollama.ai:443/library/model", "registry.ollama.ai:443/library/model:latest"},
		{"gpt-oss:120b-cloud", "gpt-oss:120b-cloud"},
		{"deepseek-v3.1:671b-cloud", "deepseek-v3.1:671b-cloud"},
		{"kimi:cloud", "kimi:cloud"},
		{"_private", "_private:latest"},
		{"a", "a:latest"},
		{"7b", "7b:latest"},
		{"m_1.2-3", "m_1.2-3:latest"},
		{"m:1.0", "m:1.0"},
		{"m:_", "m:_"},
		{"user_1/m", "user_1/m:latest"},
		{long, Name(long + ":latest")},
		{"m:" + long, Name("m:" + long)},
		{long + "/m", Name(long + "/m:latest")},
	}
	for _, tt := range tests {
		got, err := ParseName(tt.in)
		if err != nil || got != tt.want {
			t.Errorf("ParseName(%q) = %q, %v, want %q", tt.in, got, err, tt.want)
		}
	}
}

func TestParseNameRejects(t *testing.T) {
	tests := []struct{ in, says string }{
		{"", "empty"},
		{"  ", "empty"},
		{":", "model is empty"},
		{":tag", "model is empty"},
		{"m:", "tag is empty"},
		{"/m", "namespace is empty"},
		{"user/", "model is empty"},
		{"//m", "registry is empty"},
		{"a//m", "namespace is empty"},
		{"/user/m", "registry is empty"},
		{"a/b/c/d", "three parts"},
		{"http://example.com/user/m", "URL"},
		{"https://ollama.com/library/m", "URL"},
		{"user@example.com/ns/m", "'@'"},
		{"user:secret@example.com/ns/m", "'@'"},
		{"m@sha256:0123", "'@'"},
		{"m@sha256", "'@'"},
		{"../m", "'..'"},
		{"a/../m", "'..'"},
		{"m..n", "'..'"},
		{".hidden", "'.'"},
		{"-m", "'-'"},
		{"m:-t", "'-'"},
		{"user.name/m", "'.'"},
		{"localhost:5000/m", "namespace"},
		{"m:t:u", "':'"},
		{"my model", "' '"},
		{"m%2fn", "'%'"},
		{"m\x00", `'\x00'`},
		{"m\nn", `'\n'`},
		{"m\u202en", "model holds"},
		{`m\n`, `'\\'`},
		{"m?x=1", "'?'"},
		{"m#x", "'#'"},
		{"müller", "'ü'"},
		{"\xff", "model holds"},
		{strings.Repeat("a", 81), "more than 80"},
		{"m:" + strings.Repeat("a", 81), "more than 80"},
		{strings.Repeat("a", 81) + "/m", "more than 80"},
		{strings.Repeat("a", 351) + "/n/m", "more than 350"},
	}
	for _, tt := range tests {
		got, err := ParseName(tt.in)
		if err == nil {
			t.Errorf("ParseName(%q) = %q, want an error", tt.in, got)
			continue
		}
		for _, says := range []string{tt.says, "llama3.2:3b"} {
			if !strings.Contains(err.Error(), strings.ReplaceAll(says, "'..'", `".."`)) {
				t.Errorf("ParseName(%q): %v, want it to say %q", tt.in, err, says)
			}
		}
		if len(err.Error()) > 500 {
			t.Errorf("ParseName(%q): %d bytes of error", tt.in, len(err.Error()))
		}
	}
}

func FuzzParseName(f *testing.F) {
	for _, s := range []string{"m", "A/B:c", "h:1/n/m:t", "m@x", "K", "library/library:library", "registry.ollama.ai/a/b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := ParseName(s)
		if err != nil {
			return
		}
		again, err := ParseName(string(n))
		if err != nil || again != n {
			t.Errorf("ParseName(%q) = %q, ParseName of that = %q, %v", s, n, again, err)
		}
		if strings.Contains(string(n), "..") || strings.ContainsAny(string(n), "@% \\?#") {
			t.Errorf("ParseName(%q) = %q", s, n)
		}
	})
}
