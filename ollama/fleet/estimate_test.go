package fleet

import (
	"strings"
	"testing"
)

// TestLeastTokens holds the estimate below what real vocabularies make of the texts: the
// fewest tokens of r50k, cl100k and o200k, counted with github.com/tiktoken-go/tokenizer.
func TestLeastTokens(t *testing.T) {
	tests := []struct {
		name, text  string
		least, real int
	}{
		{"nothing", "", 0, 0},
		{"a word a token", strings.Repeat("word ", 3000), 3000, 3001},
		{"contractions", strings.Repeat("don't it's we'll ", 1000), 3000, 3001},
		{"blanks", strings.Repeat(" ", 30000), 234, 235},
		{"a ruler", strings.Repeat("=", 30000), 234, 469},
		{"zeros", strings.Repeat("0", 30000), 1875, 1875},
		{"table", strings.Repeat("1,2,3,4\n", 3000), 12000, 24000},
		{"one letter", strings.Repeat("a", 30000), 469, 3750},
		{"the longest identifier of cl100k", ".translatesAutoresizingMaskIntoConstraints", 1, 1},
		{"the longest word of r50k", strings.Repeat("ÃÂ", 32), 1, 1},
		{"thanks", strings.Repeat("ありがとうございました", 100), 92, 100},
		{"long sounds", "ページ", 1, 1},
		{"letters and ideographs", " 彩神争霸app", 1, 1},
		{"quoted commas", strings.Repeat("','", 1000), 0, 500},
		{"the longest word in Thai", " สำนักเลขานุการองค์กร", 1, 1},
		{"a word in Khmer", "ព័ត៌មាន", 1, 1},
		{"a word in Burmese", " ျမန္မာ", 1, 1},
		{"accents", "fenêtre œuvre ça", 3, 4},
		{"combining marks", "e\u0301le\u0300ve", 1, 5},
		{"invalid UTF-8", "a\xff\xfeb", 2, 4},
		{"emoji", "🎉🎉🎉", 0, 3},
	}
	for _, tt := range tests {
		if got := leastTokens(tt.text); got != tt.least || got > tt.real {
			t.Errorf("leastTokens of %s: got %d, want %d, and at most %d", tt.name, got, tt.least, tt.real)
		}
	}
}

// TestLeastTokensOfWriting: of usual texts the estimate finds a good part, and no more than
// there is in the vocabulary that needs the fewest tokens.
func TestLeastTokensOfWriting(t *testing.T) {
	tests := []struct {
		name, text string
		real       int
		least      float64 // part of real
	}{
		{"English", "The sort of prose that people write when they ask a model to look at something for them.", 19, 0.9},
		{"Go", "for i, m := range models {\n\tif err := check(m.Name); err != nil {\n\t\treturn fmt.Errorf(\"model %d: %w\", i, err)\n\t}\n}\n", 38, 0.5},
		{"Chinese", "我们需要在发送之前估计提示词的长度，这样才能避免模型悄悄地丢掉一部分内容。", 28, 0.1},
		{"Japanese", "送信する前にプロンプトの長さを見積もる必要があります。", 19, 0.1},
		{"Korean", "보내기 전에 프롬프트의 길이를 추정해야 합니다.", 16, 0.3},
		{"Thai", "ประเทศไทยเป็นประเทศที่มีความสวยงามและมีวัฒนธรรมที่หลากหลาย นักท่องเที่ยวจำนวนมากเดินทางมาเยี่ยมชมทุกปี", 36, 0.05},
		{"Lao", "ປະເທດລາວເປັນປະເທດທີ່ສວຍງາມ", 49, 0.01},
		{"Russian", "Перед отправкой нужно оценить длину запроса, чтобы ничего не потерялось.", 18, 0.5},
	}
	for _, tt := range tests {
		if got := leastTokens(tt.text); got > tt.real || float64(got) < tt.least*float64(tt.real) {
			t.Errorf("leastTokens of %s: got %d, want at least %.1f and at most %d", tt.name, got, tt.least*float64(tt.real), tt.real)
		}
	}
}

func BenchmarkLeastTokens(b *testing.B) {
	text := strings.Repeat("The sort of prose that people write. ", 1<<10)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		leastTokens(text)
	}
}
