package fleet

import (
	"unicode"
	"unicode/utf8"
)

// leastTokens estimates from below how many tokens a text takes, whatever the model's
// vocabulary: a text with more than a context holds surely does not fit, one with fewer is
// for Ollama to count. Tokens do not reach from a run of letters into the next, or into a
// number, and one holds so much of a run as [class.most] says.
//
// Measured on the vocabularies r50k, cl100k and o200k (github.com/tiktoken-go/tokenizer),
// which are near those of Llama 3, Qwen and gpt-oss: 0.95 of the fewest that one of them takes
// for English prose, 0.8 for German, 0.5 for Go code, Russian and Greek, 0.4 for Korean, 0.15 for
// Chinese and Japanese, less than 0.1 for Thai, Lao, Khmer and Burmese, and never above it: of
// all their tokens none is estimated at more than one.
func leastTokens(text string) int {
	tokens, run, of := 0, 0, blank
	for i := 0; i < len(text); {
		r, size := rune(text[i]), 1
		if r >= utf8.RuneSelf {
			r, size = utf8.DecodeRuneInString(text[i:])
		}
		i += size
		c, weight := classOf(r)
		if c != of {
			tokens += of.least(run)
			run, of = 0, c
		}
		run += weight
	}
	return tokens + of.least(run)
}

// class is what sort of character one is to a tokenizer.
type class int

const (
	blank  class = iota // and punctuation and symbols, which join each other and words
	letter              // of all scripts: o200k has tokens such as "app下载"
	number              // in ASCII digits
)

// What a letter weighs. The longest tokens of the vocabularies above have 64 letters (41
// without r50k, 20 in Thai, which like Lao, Khmer and Burmese has no blanks between words)
// and 11 ideographs (thanks, in Japanese).
const (
	letterWeight    = 3
	ideographWeight = 16
)

// most is what the characters of one token weigh at most: 64 letters or 12 ideographs, 16
// digits (zeros), 128 blanks.
func (c class) most() int {
	return [...]int{blank: 128, letter: 192, number: 16}[c]
}

// least is how many tokens a run of a class takes at the least.
func (c class) least(run int) int {
	if c == blank {
		return run / c.most() // the rest can be part of a word's token
	}
	return (run + c.most() - 1) / c.most()
}

// classOf returns the class of a character and what it weighs in a run.
func classOf(r rune) (c class, weight int) {
	switch {
	case 'a' <= r|0x20 && r|0x20 <= 'z':
		return letter, letterWeight
	case r == '\'', r == '’':
		return letter, 0 // "don't" is one token in some, and so is "','"
	case '0' <= r && r <= '9':
		return number, 1
	case r < utf8.RuneSelf:
		return blank, 1
	case unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana):
		return letter, ideographWeight
	case unicode.IsLetter(r), unicode.IsMark(r):
		return letter, letterWeight
	}
	return blank, 1
}
