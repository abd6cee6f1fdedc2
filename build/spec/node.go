package spec

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// MaxBytes is how long the text of a spec may be.
const MaxBytes = 1 << 20

// Bounds on the structure of a spec, so that a hostile one costs little.
const (
	maxDepth   = 32
	maxAliases = 100
)

// kind is what a node is, as a person would call it.
type kind string

const (
	isMapping  kind = "a mapping"
	isSequence kind = "a list"
	isString   kind = "a string"
	isNumber   kind = "a number"
	isBool     kind = "true or false"
	isNull     kind = "nothing"
)

// node is one value of the text, the same for YAML and JSON.
type node struct {
	kind kind
	// text is a scalar as it was typed, with escapes and quotes resolved.
	text string
	// keys and values are the pairs of a mapping, in order; a sequence has values only.
	keys, values []node
	at           Position
}

// parseTree reads text, whose errors are all *Error.
func parseTree(file string, text []byte) (node, error) {
	fail := func(at Position, message, help string) (node, error) {
		return node{}, newError(file, text, at, message, help)
	}
	switch {
	case len(text) > MaxBytes:
		text = nil
		return fail(Position{1, 1}, fmt.Sprintf("spec is larger than %d bytes", MaxBytes), "put data into a file and name it as a source")
	case bytes.HasPrefix(text, []byte("\ufeff")):
		return fail(Position{1, 1}, "spec begins with a byte order mark", "save the file as UTF-8 without one")
	case !utf8.Valid(text):
		return fail(invalidUTF8(text), "spec is not valid UTF-8", "")
	}
	if i := bytes.IndexFunc(text, forbidden); i >= 0 {
		return fail(position(text, i), fmt.Sprintf("control character U+%04X", text[i]), `write it as an escape in a quoted string`)
	}
	if strings.HasSuffix(file, ".json") || bytes.HasPrefix(bytes.TrimSpace(text), []byte("{")) && json.Valid(text) {
		return parseJSON(file, text)
	}
	return parseYAML(file, text)
}

// forbidden characters are those that YAML forbids and every reader treats differently.
func forbidden(r rune) bool { return r < ' ' && r != '\n' && r != '\t' && r != '\r' || r == 0x7f }

func invalidUTF8(text []byte) Position {
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRune(text[i:])
		if r == utf8.RuneError && size == 1 {
			return position(text, i)
		}
		i += size
	}
	return Position{1, 1}
}

// position is the place of the byte at offset.
func position(text []byte, offset int) Position {
	before := text[:min(offset, len(text))]
	return Position{bytes.Count(before, []byte("\n")) + 1, utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:]) + 1}
}

// jsonReader builds nodes from the tokens of encoding/json, which has no positions and takes duplicate keys.
type jsonReader struct {
	file  string
	text  []byte
	dec   *json.Decoder
	depth int
	// Positions are found in one pass: offset and at move forward together.
	offset int
	at     Position
}

func parseJSON(file string, text []byte) (node, error) {
	r := &jsonReader{file: file, text: text, dec: json.NewDecoder(bytes.NewReader(text)), at: Position{1, 1}}
	r.dec.UseNumber()
	n, err := r.value()
	if err != nil {
		return node{}, err
	}
	if _, err := r.dec.Token(); !errors.Is(err, io.EOF) {
		r.next()
		return node{}, newError(file, text, r.at, "text after the end of the document", "")
	}
	return n, nil
}

// next moves to the beginning of the next token.
func (r *jsonReader) next() {
	end := int(r.dec.InputOffset())
	for end < len(r.text) && strings.IndexByte(" \t\r\n,:", r.text[end]) >= 0 {
		end++
	}
	r.moveTo(end)
}

func (r *jsonReader) moveTo(offset int) {
	passed := r.text[r.offset:max(r.offset, min(offset, len(r.text)))]
	if lines := bytes.Count(passed, []byte("\n")); lines > 0 {
		r.at.Line += lines
		r.at.Column = 1 + utf8.RuneCount(passed[bytes.LastIndexByte(passed, '\n')+1:])
	} else {
		r.at.Column += utf8.RuneCount(passed)
	}
	r.offset += len(passed)
}

func (r *jsonReader) fail(err error) error {
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		r.moveTo(int(syntax.Offset) - 1)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		r.moveTo(len(r.text))
		err = errors.New("unexpected end of the text")
	}
	return newError(r.file, r.text, r.at, "malformed JSON: "+err.Error(), "")
}

func (r *jsonReader) value() (node, error) {
	r.next()
	n := node{at: r.at}
	token, err := r.dec.Token()
	if err != nil {
		return node{}, r.fail(err)
	}
	switch t := token.(type) {
	case nil:
		n.kind = isNull
	case bool:
		n.kind, n.text = isBool, strconv.FormatBool(t)
	case json.Number:
		n.kind, n.text = isNumber, t.String()
	case string:
		n.kind, n.text = isString, t
	case json.Delim:
		if r.depth++; r.depth > maxDepth {
			return node{}, newError(r.file, r.text, n.at, "nested too deep", "")
		}
		err = r.children(&n, t)
		r.depth--
	}
	return n, err
}

func (r *jsonReader) children(n *node, open json.Delim) error {
	n.kind = isSequence
	if open == '{' {
		n.kind = isMapping
	}
	for r.dec.More() {
		if n.kind == isMapping {
			key, err := r.value()
			if err != nil {
				return err
			}
			n.keys = append(n.keys, key)
		}
		value, err := r.value()
		if err != nil {
			return err
		}
		n.values = append(n.values, value)
	}
	if _, err := r.dec.Token(); err != nil {
		return r.fail(err)
	}
	return nil
}
