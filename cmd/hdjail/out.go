package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
)

// out is the only place that prints. Data goes to standard output, bare and complete, for programs and pipes; everything
// said to a person goes to standard error. Text that comes from elsewhere is shown with escapes, and colour only where
// color is set. Nothing ever asks.
type out struct {
	data, people io.Writer
	color        bool
	quiet        bool
}

func newOut(data, people io.Writer, color bool) *out {
	return &out{data: data, people: people, color: color && isTerminal(people)}
}

// line prints one line of data.
func (o *out) line(format string, args ...any) error {
	_, err := fmt.Fprintf(o.data, format+"\n", args...)
	return err
}

// json prints a value as data, indented.
func (o *out) json(value any) error {
	encoder := json.NewEncoder(o.data)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(value)
}

// jsonLine prints a value as one line of data.
func (o *out) jsonLine(value any) error {
	encoder := json.NewEncoder(o.data)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(value)
}

// say prints a message for a person.
func (o *out) say(format string, args ...any) {
	fmt.Fprintf(o.people, format+"\n", args...)
}

// warn prints a message that a person should not miss.
func (o *out) warn(format string, args ...any) {
	o.say("%s: %s", o.paint(yellow, "warning"), fmt.Sprintf(format, args...))
}

// Colours, as the numbers of ECMA-48.
const (
	bold   = "1"
	dim    = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
	cyan   = "36"
)

func (o *out) paint(color, text string) string {
	if !o.color {
		return text
	}
	return "\x1b[" + color + "m" + text + "\x1b[0m"
}

// escape shows what a terminal would obey, or what would break a line, as an escape.
func escape(text string) string {
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

// pinning tells of the first look at a host package, which takes a moment.
func (o *out) pinning(done, total int, name string) {}

// quote is text in quotation marks, with escapes.
func quote(text string) string { return strconv.Quote(text) }

// problem prints an error: what, where, more of it, what to do.
func (o *out) problem(p problem) {
	o.say("%s: %s", o.paint(red, "error["+p.Code+"]"), escape(p.Text))
	for _, line := range p.Details {
		o.say("%s", escape(line))
	}
	if p.Place != "" {
		o.say("  %s %s   %s", o.paint(dim, "-->"), escape(p.Place), escape(strings.TrimSpace(p.Excerpt)))
	}
	for _, line := range p.Help {
		o.say("  %s %s", o.paint(cyan, "help:"), escape(line))
	}
	o.say("  %s", o.paint(dim, "more: hdjail explain "+p.Code))
}
