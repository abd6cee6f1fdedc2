// Package debsrc reads what a Debian host says about its archives: the APT sources that are configured, rewritten to ask
// for source packages, and the records of source packages. It opens no file and runs nothing.
package debsrc

import (
	"fmt"
	"slices"
	"strings"
)

// Stanza is one enabled entry of sources.list(5) without its type. Options hold what says how the archive is trusted, by
// field name in lower case; a value may have several lines, as an embedded key has.
type Stanza struct {
	URIs, Suites, Components []string
	Options                  map[string]string
}

// options are kept; all others choose among binary packages or are for other programs.
var options = []string{"signed-by", "trusted", "check-valid-until", "valid-until-min", "valid-until-max", "check-date",
	"date-max-future", "inrelease-path", "by-hash", "allow-insecure", "allow-weak", "allow-downgrade-to-insecure"}

// LineError reports a line of a sources file that has not the form of sources.list(5).
type LineError struct {
	Line int
	Text string
}

// Error implements error, in one line.
func (e *LineError) Error() string {
	return fmt.Sprintf("read apt sources: line %d: malformed %q", e.Line, e.Text)
}

// ParseList reads the one-line form: type, options in brackets, URI, suite, components.
func ParseList(data string) ([]Stanza, error) {
	var stanzas []Stanza
	n := 0
	for line := range strings.Lines(data) {
		n++
		text, _, _ := strings.Cut(line, "#")
		kind, rest, _ := strings.Cut(strings.TrimSpace(strings.ReplaceAll(text, "\t", " ")), " ")
		if kind == "" {
			continue
		}
		s := Stanza{Options: map[string]string{}}
		rest = strings.TrimSpace(rest)
		if inner, ok := strings.CutPrefix(rest, "["); ok {
			var settings string
			if settings, rest, ok = strings.Cut(inner, "]"); !ok {
				return nil, &LineError{n, strings.TrimSpace(line)}
			}
			for _, setting := range strings.Fields(settings) {
				key, value, _ := strings.Cut(setting, "=")
				s.set(key, strings.ReplaceAll(value, ",", " "))
			}
		}
		words := strings.Fields(rest)
		if kind != "deb" && kind != "deb-src" || len(words) < 2 {
			return nil, &LineError{n, strings.TrimSpace(line)}
		}
		s.URIs, s.Suites, s.Components = words[:1], words[1:2], words[2:]
		stanzas = append(stanzas, s)
	}
	return stanzas, nil
}

// ParseSources reads the deb822 form: paragraphs of fields. Those with "Enabled: no" are left out.
func ParseSources(data string) ([]Stanza, error) {
	var stanzas []Stanza
	paragraphs, err := paragraphs(data)
	if err != nil {
		return nil, err
	}
	for _, p := range paragraphs {
		switch strings.ToLower(p["enabled"]) {
		case "no", "false", "without", "off", "disable", "0":
			continue
		}
		s := Stanza{URIs: strings.Fields(p["uris"]), Suites: strings.Fields(p["suites"]),
			Components: strings.Fields(p["components"]), Options: map[string]string{}}
		for key, value := range p {
			s.set(key, value)
		}
		if len(s.URIs) > 0 && len(s.Suites) > 0 {
			stanzas = append(stanzas, s)
		}
	}
	return stanzas, nil
}

func (s *Stanza) set(key, value string) {
	if key = strings.ToLower(key); slices.Contains(options, key) && value != "" {
		s.Options[key] = value
	}
}

// Format writes the stanzas in the deb822 form for source packages alone, each once. Archives on discs are left out:
// they would ask for the disc.
func Format(stanzas []Stanza) string {
	var texts []string
	for _, s := range stanzas {
		uris := slices.DeleteFunc(slices.Clone(s.URIs), func(uri string) bool { return strings.HasPrefix(uri, "cdrom:") })
		if len(uris) == 0 {
			continue
		}
		var b strings.Builder
		fmt.Fprintf(&b, "Types: deb-src\nURIs: %s\nSuites: %s\n", strings.Join(uris, " "), strings.Join(s.Suites, " "))
		if len(s.Components) > 0 {
			fmt.Fprintf(&b, "Components: %s\n", strings.Join(s.Components, " "))
		}
		for _, key := range options {
			if value, ok := s.Options[key]; ok {
				fmt.Fprintf(&b, "%s: %s\n", key, value)
			}
		}
		if !slices.Contains(texts, b.String()) {
			texts = append(texts, b.String())
		}
	}
	return strings.Join(texts, "\n")
}

// Record is one version of a source package in an archive. Files are the names of its files.
type Record struct {
	Package, Version string
	Files            []string
}

// ParseRecords reads paragraphs of a Sources index, as `apt-cache showsrc` prints them.
func ParseRecords(data string) ([]Record, error) {
	paragraphs, err := paragraphs(data)
	if err != nil {
		return nil, err
	}
	var records []Record
	for _, p := range paragraphs {
		r := Record{Package: p["package"], Version: p["version"]}
		files := p["checksums-sha256"]
		if files == "" {
			files = p["files"]
		}
		for line := range strings.Lines(files) {
			if words := strings.Fields(line); len(words) == 3 {
				r.Files = append(r.Files, words[2])
			}
		}
		records = append(records, r)
	}
	return records, nil
}

// paragraphs reads deb822(5): values by field name in lower case, without the white space around them; the lines of a
// value keep the space they begin with.
func paragraphs(data string) ([]map[string]string, error) {
	var all []map[string]string
	var p map[string]string
	key, n := "", 0
	for line := range strings.Lines(data) {
		n++
		line = strings.TrimRight(line, " \t\r\n")
		switch {
		case line == "":
			p, key = nil, ""
			continue
		case line[0] == '#':
			continue
		case line[0] == ' ' || line[0] == '\t':
			if key == "" {
				return nil, &LineError{n, line}
			}
			p[key] += "\n" + line
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok || strings.ContainsAny(name, " \t") {
			return nil, &LineError{n, line}
		}
		if p == nil {
			p = map[string]string{}
			all = append(all, p)
		}
		key = strings.ToLower(name)
		p[key] = strings.TrimSpace(value)
	}
	return all, nil
}
