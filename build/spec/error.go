package spec

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"hdjail/build/lens"
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

	text []byte
}

// Error implements error: "FILE:LINE:COLUMN: MESSAGE".
func (e *Error) Error() string {
	return fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, e.Message)
}

// Unwrap returns the cause, or nil.
func (e *Error) Unwrap() error { return e.Err }

const longestExcerpt = 120

func newError(file string, text []byte, at Position, message, help string) *Error {
	return &Error{File: file, Line: at.Line, Column: at.Column, Message: message, Help: help, Source: line(text, at.Line), text: text}
}

// because adds the cause. One that is about a reference moves the place to where that is written.
func (e *Error) because(err error) *Error {
	e.Err = err
	var reference *lens.Error
	if errors.As(err, &reference) {
		if e.Help == "" {
			e.Help = reference.Help
		}
		at := find(e.text, Position{e.Line, e.Column}, "${"+reference.Source)
		e.Line, e.Column, e.Source = at.Line, at.Column, line(e.text, at.Line)
	}
	return e
}

// find is the place of the first such text that begins at a place or behind it; that place itself where there is none, as
// in a text with escapes.
func find(text []byte, from Position, wanted string) Position {
	offset := 0
	for range from.Line - 1 {
		offset += bytes.IndexByte(text[offset:], '\n') + 1
	}
	for range from.Column - 1 {
		_, size := utf8.DecodeRune(text[offset:])
		offset += size
	}
	at := bytes.Index(text[offset:], []byte(wanted))
	if at < 0 {
		return from
	}
	return position(text, offset+at)
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
