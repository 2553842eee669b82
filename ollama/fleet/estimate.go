package fleet

import (
	"unicode"
	"unicode/utf8"
)

// leastTokens estimates from below how many tokens a text takes, whatever the model's
// vocabulary: a text with more than a context holds surely does not fit, one with fewer is
// for Ollama to count. Tokens do not reach from a word into the next word or a number, and
// one stands for a word, a number, or so many characters as [class.most] says.
//
// Measured on the vocabularies r50k, cl100k and o200k (github.com/tiktoken-go/tokenizer),
// which are near those of Llama 3, Qwen and gpt-oss: 0.7 of the true count for English prose,
// 0.3 to 0.5 for German, 0.4 to 0.55 for Go code, 0.14 to 0.43 for Chinese, Japanese,
// Korean, Russian and Greek, 0.4 for base64, and never above it.
func leastTokens(text string) int {
	tokens, run, of := 0, 0, blank
	for i := 0; i < len(text); {
		r, size := rune(text[i]), 1
		if r >= utf8.RuneSelf {
			r, size = utf8.DecodeRuneInString(text[i:])
		}
		i += size
		if c := classOf(r); c != of {
			tokens += of.least(run)
			run, of = 0, c
		}
		run++
	}
	return tokens + of.least(run)
}

// class is what sort of character one is to a tokenizer.
type class int

const (
	blank     class = iota // and punctuation and symbols, which join each other and words
	word                   // of a script with blanks between words
	number                 // in ASCII digits
	ideograph              // of a script without blanks between words
)

// most is how many characters of a class a token stands for at most. The longest in the
// vocabularies above: 36 letters, 16 zeros, 114 of a ruler. Tokens of 7 and 11 ideographs
// are thanks in Japanese; usual texts have fewer than 2 in one on average.
func (c class) most() int {
	return [...]int{blank: 128, word: 40, number: 16, ideograph: 4}[c]
}

// least is how many tokens a run of a class takes at the least.
func (c class) least(run int) int {
	if c == blank {
		return run / c.most() // the rest can be part of a word's token
	}
	return (run + c.most() - 1) / c.most()
}

func classOf(r rune) class {
	switch {
	case 'a' <= r|0x20 && r|0x20 <= 'z', r == '\'', r == '’': // "don't" is one token in some
		return word
	case '0' <= r && r <= '9':
		return number
	case r < utf8.RuneSelf:
		return blank
	case unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar):
		return ideograph
	case unicode.IsLetter(r), unicode.IsMark(r):
		return word
	}
	return blank
}
