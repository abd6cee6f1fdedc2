package learn

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode"

	"hdjail/artifact"
)

// YAML is the draft as a spec, with the reasons as comments.
func (d *Draft) YAML() []byte {
	var y yaml
	for _, line := range d.Heading {
		y.comment(line)
	}
	for _, line := range d.Edit {
		y.comment("EDIT: " + line)
	}
	for _, s := range d.Secrets {
		y.comment("never proposed: " + s.Name + ", " + s.Reason)
	}
	for _, u := range d.Unused {
		y.comment("never used: " + u.String())
	}
	y.line("hdjail: 1")
	y.line("name: %s", scalar(d.Name))
	if d.Version != "" {
		y.line("version: %s", strconv.Quote(d.Version))
	}
	y.inputs(d)
	y.host(d)
	if len(d.Environment) > 0 {
		y.line("\nenvironment:")
		for _, name := range slices.Sorted(maps.Keys(d.Environment)) {
			y.line("  %s: %s", scalar(name), quoted(d.Environment[name]))
		}
	}
	if len(d.Interpreter) > 0 {
		words := make([]string, len(d.Interpreter))
		for i, word := range d.Interpreter {
			words[i] = quoted(word)
		}
		y.line("\ninterpreter: [%s]", strings.Join(words, ", "))
	}
	y.script(d.Script)
	if len(d.Promises) > 0 {
		y.line("\npromises:")
		for _, p := range d.Promises {
			if p == artifact.Exists(p.Path) {
				y.line("  - %s", scalar(p.Path))
				continue
			}
			name := ""
			if p.Name != "" {
				name = ", name: " + p.Name
			}
			y.line("  - {path: %s, kind: %s%s}", quoted(p.Path), quoted(p.Kind), name)
		}
	}
	return []byte(y.String())
}

// String is the entry for people.
func (u Unused) String() string {
	text := u.Kind + " " + u.Name
	if len(u.With) > 0 {
		text += fmt.Sprintf(", and %d packages that only it brings in", len(u.With))
	}
	return text
}

type yaml struct{ strings.Builder }

func (y *yaml) line(format string, args ...any) { fmt.Fprintf(y, format+"\n", args...) }

func (y *yaml) comment(text string) { y.line("# %s", plain(text)) }

func (y *yaml) entry(indent, value, reason string) {
	if reason != "" {
		reason = "  # " + plain(reason)
	}
	y.line("%s- %s%s", indent, value, reason)
}

func (y *yaml) inputs(d *Draft) {
	if len(d.Sources) > 0 {
		y.line("\nsources:")
	}
	for _, s := range d.Sources {
		key, value := "path", s.Path
		if s.Path == "" {
			key, value, _ = strings.Cut(s.Digest, ":")
		}
		y.entry("  ", key+": "+scalar(value), s.Reason)
		if s.Target != "" {
			y.line("    target: %s", scalar(s.Target))
		}
		if !s.Unpack {
			y.line("    unpack: none")
		}
	}
	if len(d.Dependencies) > 0 {
		y.line("\ndependencies:")
	}
	for _, id := range d.Dependencies {
		y.line("  - id: %s", id)
	}
}

func (y *yaml) host(d *Draft) {
	if len(d.Packages)+len(d.Paths) == 0 {
		return
	}
	y.line("\nhost:")
	if len(d.Packages) > 0 {
		y.line("  packages:")
	}
	for _, p := range d.Packages {
		y.entry("    ", scalar(p.Name), p.Reason)
	}
	if len(d.Paths) > 0 {
		y.line("  paths:")
	}
	for _, p := range d.Paths {
		y.entry("    ", scalar(p.Name), p.Reason)
	}
}

// script writes a block, or a quoted text where a block would not keep it.
func (y *yaml) script(text string) {
	odd := func(r rune) bool {
		return r != '\n' && r != '\t' && (!unicode.IsPrint(r) || r == unicode.ReplacementChar)
	}
	if strings.IndexFunc(text, odd) >= 0 || strings.HasPrefix(text, " ") || strings.HasPrefix(text, "\t") || strings.HasPrefix(text, "\n") ||
		strings.HasSuffix(text, "\n\n") || !strings.HasSuffix(text, "\n") {
		y.line("\nscript: %s", quoted(text))
		return
	}
	y.line("\nscript: |")
	for line := range strings.Lines(text) {
		if line != "\n" {
			y.WriteString("  ")
		}
		y.WriteString(line)
	}
}

var plainScalar = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[A-Za-z/_][A-Za-z0-9_+./-]*$`)
})

// scalar is a text in YAML, without quotes where they are not needed.
func scalar(text string) string {
	switch strings.ToLower(text) {
	case "true", "false", "null", "yes", "no", "on", "off", "y", "n":
		return quoted(text)
	}
	if plainScalar().MatchString(text) || text == "." || text == ".." || strings.HasPrefix(text, "../") && plainScalar().MatchString("/"+text) {
		return text
	}
	return quoted(text)
}

// quoted is a text in double quotes. YAML has all escapes of Go.
func quoted(text string) string { return strconv.Quote(strings.ToValidUTF8(text, "\uFFFD")) }

// plain is a text that keeps to its line of a comment.
func plain(text string) string {
	odd := func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }
	if strings.IndexFunc(text, odd) < 0 {
		return text
	}
	q := strconv.QuoteToASCII(text)
	return q[1 : len(q)-1]
}
