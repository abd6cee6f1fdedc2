package match

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"hdjail/artifact"
)

// maxCount bounds n, top and k.
const maxCount = 1_000_000

// Parse reads the text form of a matcher. The empty text is "only". Any other that means nothing gives *ParseError.
func Parse(text string) (Matcher, error) {
	fail := func(reason string) (Matcher, error) { return nil, &ParseError{text, reason} }
	if !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
		return fail("it is not printable text")
	}
	words, err := split(text)
	if err != nil {
		return fail(err.Error())
	}
	p := pipeline{}
	for _, w := range words {
		f, c, err := w.make()
		switch {
		case err != nil:
			return fail(err.Error())
		case p.chooser != nil:
			return fail(fmt.Sprintf("nothing may follow %q", p.chooser.String()))
		case f != nil:
			p.filters = append(p.filters, f)
		default:
			p.chooser = c
		}
	}
	if p.chooser == nil {
		p.chooser = only{}
	}
	return p, nil
}

// split reads the words of a matcher.
func split(text string) (words []word, err error) {
	for rest, more := strings.TrimSpace(text), strings.TrimSpace(text) != ""; more; {
		var w word
		if w, rest, err = cut(rest); err != nil {
			return nil, err
		}
		words = append(words, w)
		rest, more = strings.CutPrefix(rest, "|")
	}
	return words, nil
}

// word is one filter or chooser as it is written: a name, and what is in its parentheses or after its colon.
type word struct {
	name, argument string
	given          bool
}

// cut takes the first word off text. What is left is empty or begins with "|".
func cut(text string) (w word, rest string, err error) {
	text = strings.TrimSpace(text)
	end := strings.IndexAny(text, "|(:")
	if end < 0 {
		return word{name: text}, "", nil
	}
	w.name, rest = strings.TrimSpace(text[:end]), text[end+1:]
	switch text[end] {
	case '|':
		return w, text[end:], nil
	case ':':
		w.given = true
		if end = strings.IndexByte(rest, '|'); end < 0 {
			end = len(rest)
		}
		w.argument, rest = strings.TrimSpace(rest[:end]), rest[end:]
		return w, rest, nil
	}
	w.given = true
	if end = strings.IndexByte(rest, ')'); end < 0 {
		return w, "", fmt.Errorf("%q has no closing parenthesis", w.name)
	}
	w.argument, rest = strings.TrimSpace(rest[:end]), strings.TrimSpace(rest[end+1:])
	if rest != "" && rest[0] != '|' {
		return w, "", fmt.Errorf("%q is between two matchers: they are joined by |", rest)
	}
	return w, rest, nil
}

// names are all matchers, as an error lists them.
const names = "clean and quorum(k) filter; only, some(n), latest(n), all, exact(id, ...), best(file, top n) and script(file) choose"

// make is the filter or the chooser that a word stands for.
func (w word) make() (filter, chooser, error) {
	if w.given && slices.Contains([]string{"only", "all", "clean"}, w.name) {
		return nil, nil, fmt.Errorf("%s takes no argument", w.name)
	}
	switch w.name {
	case "only":
		return nil, only{}, nil
	case "all":
		return nil, all{}, nil
	case "clean":
		return clean{}, nil, nil
	case "some":
		n, err := count(w.name, w.argument, w.given)
		return nil, some{n}, err
	case "latest":
		n := 1
		var err error
		if w.given {
			n, err = count(w.name, w.argument, true)
		}
		return nil, latest{n}, err
	case "quorum":
		n, err := count(w.name, w.argument, w.given)
		return quorum{n}, nil, err
	case "exact":
		c, err := parseExact(w.argument)
		return nil, c, err
	case "best":
		c, err := parseBest(w.argument)
		return nil, c, err
	case "script":
		c, err := parseScript(w.argument)
		return nil, c, err
	case "":
		return nil, nil, fmt.Errorf("a matcher is missing: %s", names)
	}
	return nil, nil, fmt.Errorf("there is no matcher %q: %s", w.name, names)
}

// count reads a number from 1.
func count(name, text string, given bool) (int, error) {
	n, err := strconv.Atoi(text)
	if !given || err != nil || n < 1 || n > maxCount || strconv.Itoa(n) != text {
		return 0, fmt.Errorf("%s wants a number from 1 to %d, like %s(2)", name, maxCount, name)
	}
	return n, nil
}

func parseExact(text string) (exact, error) {
	list := strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' })
	if len(list) == 0 {
		return nil, fmt.Errorf("exact wants the IDs of realizations, or their beginnings")
	}
	for _, id := range list {
		if len(id) > artifact.IDLength || strings.Trim(id, "abcdefghijklmnopqrstuvwxyz234567") != "" {
			return nil, fmt.Errorf("%q is no ID: one has %d characters, a-z and 2-7", id, artifact.IDLength)
		}
	}
	slices.Sort(list)
	return exact(slices.Compact(list)), nil
}

func parseBest(text string) (best, error) {
	b := best{top: 1}
	if at := strings.LastIndexByte(text, ','); at >= 0 {
		top, isTop := strings.CutPrefix(strings.TrimSpace(text[at+1:]), "top ")
		if !isTop {
			return b, fmt.Errorf("best wants a file and how many, like best(score.txt, top 3)")
		}
		var err error
		if b.top, err = strconv.Atoi(strings.TrimSpace(top)); err != nil || b.top < 1 || b.top > maxCount {
			return b, fmt.Errorf("best wants a number from 1 to %d after top", maxCount)
		}
		text = strings.TrimSpace(text[:at])
	}
	b.file = path.Clean(text)
	switch {
	case text == "" || b.file == ".":
		return b, fmt.Errorf("best wants a file of the output, like best(score.txt)")
	case path.IsAbs(text) || slices.Contains(strings.Split(text, "/"), ".."):
		return b, fmt.Errorf("best wants a file inside the output, and %q is not", text)
	case strings.ContainsAny(text, "(),|"):
		return b, fmt.Errorf("best wants a file whose name has none of ( ) , |")
	}
	return b, nil
}

func parseScript(text string) (script, error) {
	switch {
	case text == "":
		return script{}, fmt.Errorf("script wants a file, like script(choose.yaml)")
	case strings.ContainsAny(text, "()|"):
		return script{}, fmt.Errorf("script wants a file whose name has none of ( ) |")
	}
	return script{path.Clean(text)}, nil
}

// Script returns the file of a matcher that is a script, empty for any other.
func Script(m Matcher) string {
	if p, ok := m.(pipeline); ok {
		if s, ok := p.chooser.(script); ok {
			return s.file
		}
	}
	return ""
}

// In returns the matcher with its file, if it has one that is relative, taken from the directory dir.
func In(m Matcher, dir string) Matcher {
	if file := Script(m); file != "" && !path.IsAbs(file) {
		p := m.(pipeline)
		p.chooser = script{path.Join(dir, file)}
		return p
	}
	return m
}
