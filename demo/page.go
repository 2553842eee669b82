package main

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

const (
	pageIndent = 24 // columns before the text: a step and what it took
	pageWidth  = 76 // columns of text
)

// page is the demo's table: a step, what it took, and what came of it. On a terminal its
// last line may be live; elsewhere there are no control codes.
type page struct {
	out      io.Writer
	terminal bool
}

// row prints a step that has ended.
func (p *page) row(step string, took time.Duration, text string) {
	lines := wrap(text)
	fmt.Fprintf(p.out, "%-12s %8s   %s\n", step, duration(took), lines[0])
	for _, l := range lines[1:] {
		p.line(l)
	}
}

// line prints words about the step that goes on.
func (p *page) line(text string) {
	for _, l := range wrap(text) {
		fmt.Fprintf(p.out, "%*s%s\n", pageIndent, "", l)
	}
}

// Write prints what a builder says about the step that goes on.
func (p *page) Write(text []byte) (int, error) {
	p.line(string(text))
	return len(text), nil
}

// live writes the live line over; "" wipes it.
func (p *page) live(text string) {
	if !p.terminal {
		return
	}
	fmt.Fprint(p.out, "\r\x1b[K")
	if text != "" {
		fmt.Fprintf(p.out, "%*s%s", pageIndent, "", cut(text, pageWidth))
	}
}

// stream is a text that grows on a page. Full lines are printed; what comes after them
// is live.
type stream struct {
	page    *page
	text    string
	printed int // lines
}

// add adds text, and words on how far it is.
func (s *stream) add(delta, state string) {
	s.text += delta
	lines := wrap(s.text)
	last := len(lines) - 1
	s.print(lines[:last])
	s.page.live(strings.TrimSpace(lines[last] + "  [" + state + "]"))
}

// finish prints what is left of the whole text.
func (s *stream) finish(text string) {
	s.page.live("")
	if text != "" {
		s.print(wrap(text))
	}
}

func (s *stream) print(lines []string) {
	for ; s.printed < len(lines); s.printed++ {
		s.page.live("")
		s.page.line(lines[s.printed])
	}
}

// wrap breaks text into lines of at most pageWidth, words that are longer apart, and
// takes out what could steer a terminal. There is at least one line. More text changes
// the last line only.
func wrap(text string) []string {
	var lines []string
	for paragraph := range strings.SplitSeq(strings.TrimRight(text, "\n"), "\n") {
		line := ""
		for _, word := range strings.Fields(paragraph) {
			word = strings.Map(visible, word)
			switch {
			case line == "":
				line = word
			case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) <= pageWidth:
				line += " " + word
			default:
				lines, line = append(lines, line), word
			}
		}
		lines = append(lines, line)
	}
	return lines
}

// visible takes a rune out that could steer a terminal.
func visible(r rune) rune {
	if unicode.IsControl(r) {
		return -1
	}
	return r
}

// cut shortens s to n characters.
func cut(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}

// duration words a time with three digits or so.
func duration(d time.Duration) string {
	switch {
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1f ms", d.Seconds()*1e3)
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 100*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return d.Round(time.Second).String()
}
