package spec

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Error reports one mistake in a spec. Source is the line it is on, shortened, empty where there is none; Help says what
// to do about it, empty where Message does.
type Error struct {
	File         string
	Line, Column int
	Message      string
	Help         string
	Source       string
	// Err is the cause, nil for a mistake in the text itself.
	Err error
}

// Error implements error: "FILE:LINE:COLUMN: MESSAGE".
func (e *Error) Error() string {
	return fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, e.Message)
}

// Unwrap returns the cause, or nil.
func (e *Error) Unwrap() error { return e.Err }

const longestExcerpt = 120

func newError(file string, text []byte, at Position, message, help string) *Error {
	return &Error{File: file, Line: at.Line, Column: at.Column, Message: message, Help: help, Source: line(text, at.Line)}
}

// line returns line number n of text, fit to be shown: valid, without control characters, not too long.
func line(text []byte, n int) string {
	for ; n > 1; n-- {
		_, rest, found := bytes.Cut(text, []byte("\n"))
		if !found {
			return ""
		}
		text = rest
	}
	text, _, _ = bytes.Cut(text, []byte("\n"))
	if len(text) > longestExcerpt {
		text = text[:longestExcerpt]
		for len(text) > 0 && !utf8.RuneStart(text[len(text)-1]) {
			text = text[:len(text)-1]
		}
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == utf8.RuneError || r == '\ufeff' {
			return ' '
		}
		return r
	}, string(text))
}
