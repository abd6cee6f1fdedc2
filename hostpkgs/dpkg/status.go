package dpkg

import (
	"bytes"
	"fmt"
	"path"
	"strings"

	"hdjail/hostpkgs"
)

// stanza is what counts of one paragraph of the status file.
type stanza struct {
	hostpkgs.Package
	// installed is complete; present is that dpkg keeps a list of files.
	installed, present bool
	conffiles          []string
}

// parseStatus reads the format of deb822(5): paragraphs of "Field: value", continued by lines that begin with a blank.
func parseStatus(data []byte) ([]stanza, error) {
	var stanzas []stanza
	var current stanza
	field, begun := "", false
	finish := func(line int) error {
		if begun && current.Name == "" {
			return fmt.Errorf("line %d: paragraph without a Package field", line)
		}
		if begun {
			stanzas = append(stanzas, current)
		}
		current, field, begun = stanza{}, "", false
		return nil
	}
	number := 0
	for raw := range bytes.SplitSeq(data, []byte("\n")) {
		number++
		if len(bytes.TrimSpace(raw)) == 0 {
			if err := finish(number); err != nil {
				return nil, err
			}
			continue
		}
		if raw[0] == ' ' || raw[0] == '\t' {
			if field == "" {
				return nil, fmt.Errorf("line %d: continuation of nothing", number)
			}
			current.extend(field, string(bytes.TrimSpace(raw)))
			continue
		}
		name, value, ok := bytes.Cut(raw, []byte(":"))
		if !ok {
			return nil, fmt.Errorf("line %d: no field name", number)
		}
		field, begun = strings.ToLower(string(name)), true
		current.set(field, string(bytes.TrimSpace(value)))
	}
	return stanzas, finish(number)
}

func (s *stanza) set(field, value string) {
	switch field {
	case "package":
		s.Name = value
	case "status":
		// "want flag state" (dpkg(1)): a held package is wanted as "hold", and installed all the same.
		words := strings.Fields(value)
		s.installed = len(words) == 3 && words[1] == "ok" && words[2] == "installed"
		s.present = len(words) == 3 && words[2] != "not-installed"
	case "architecture":
		s.Architecture = value
	case "version":
		s.Version = value
	case "multi-arch":
		s.Coinstallable = value == "same"
	case "depends", "pre-depends":
		s.Depends = append(s.Depends, parseRelations(value)...)
	case "provides":
		for _, group := range parseRelations(value) {
			s.Provides = append(s.Provides, group[0].Name)
		}
	}
}

// extend takes a continuation line; of the fields that count only Conffiles has some: " path md5sum [flag]".
func (s *stanza) extend(field, line string) {
	if field != "conffiles" {
		return
	}
	if name, _, _ := strings.Cut(line, " "); strings.HasPrefix(name, "/") {
		s.conffiles = append(s.conffiles, path.Clean(name))
	}
}

// parseRelations reads "a (>= 1) | b:any, c" (deb-control(5)); what cannot be a name is left out.
func parseRelations(text string) [][]hostpkgs.Dependency {
	var groups [][]hostpkgs.Dependency
	for clause := range strings.SplitSeq(text, ",") {
		var group []hostpkgs.Dependency
		for member := range strings.SplitSeq(clause, "|") {
			member = strings.TrimSpace(member)
			if end := strings.IndexAny(member, " (["); end >= 0 {
				member = member[:end]
			}
			if name, arch, _ := strings.Cut(member, ":"); name != "" {
				group = append(group, hostpkgs.Dependency{Name: name, Arch: arch})
			}
		}
		if group != nil {
			groups = append(groups, group)
		}
	}
	return groups
}
