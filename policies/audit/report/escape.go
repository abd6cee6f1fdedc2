package report

import (
	"fmt"
	"strings"
	"unicode"
)

// Escape shows what a terminal would obey, or what would break a line, as an escape. It changes nothing in its own result.
func Escape(text string) string {
	odd := func(r rune) bool { return !unicode.IsPrint(r) && r != '\t' || r == unicode.ReplacementChar }
	if strings.IndexFunc(text, odd) < 0 {
		return text
	}
	var b strings.Builder
	for i, r := range text {
		switch {
		case !odd(r):
			b.WriteRune(r)
		case r == unicode.ReplacementChar:
			fmt.Fprintf(&b, `\x%02x`, text[i])
		case r < 0x100:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// shorten takes so much out of the middle of a text that width characters are left.
func shorten(text string, width int) string {
	runes := []rune(text)
	if width < 8 || len(runes) <= width {
		return text
	}
	head := width / 3
	return string(runes[:head]) + "…" + string(runes[len(runes)-(width-head-1):])
}
