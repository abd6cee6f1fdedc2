// Package alternatives reads the databases of generic names (update-alternatives(1)): /usr/bin/cc, served by one of several
// packages. It is pure.
package alternatives

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Alternative is a generic name that one of several packages serves (update-alternatives(1)): Link points to
// /etc/alternatives/Name, and that to the Path of a choice. Followers are switched with it.
type Alternative struct {
	Name, Link string
	Followers  []Link
	Choices    []Choice
}

// Choice is a candidate. Targets are those of the followers, in their order, "" for none.
type Choice struct {
	Path     string
	Priority int
	Targets  []string
}

// Link is a symbolic link. Of a follower, Path is the generic name and Target the name below /etc/alternatives.
type Link struct{ Path, Target string }

// Dir is where the links are whose targets are the choices.
const Dir = "/etc/alternatives"

// Parse reads a file of an alternatives database: mode, link, pairs of follower name and link, a blank line;
// then choices of path, priority and one line a follower; a blank line. chkconfig (alternatives.c) may put "@family@"
// before a path and an init script behind a priority.
func Parse(name, text string) (Alternative, error) {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	bad := func(i int) (Alternative, error) { return Alternative{}, fmt.Errorf("line %d: malformed", i+1) }
	if len(lines) < 2 || !path.IsAbs(lines[1]) {
		return bad(min(len(lines)-1, 1))
	}
	a := Alternative{Name: name, Link: path.Clean(lines[1])}
	i := 2
	for ; i < len(lines) && lines[i] != ""; i += 2 {
		if i+1 >= len(lines) || strings.Contains(lines[i], "/") || !path.IsAbs(lines[i+1]) {
			return bad(i)
		}
		a.Followers = append(a.Followers, Link{path.Clean(lines[i+1]), lines[i]})
	}
	for i++; i < len(lines) && lines[i] != ""; i += 2 + len(a.Followers) {
		if i+2+len(a.Followers) > len(lines) {
			return bad(i)
		}
		target := lines[i]
		if family, ok := strings.CutPrefix(target, "@"); ok {
			_, target, _ = strings.Cut(family, "@")
		}
		number, _, _ := strings.Cut(lines[i+1], " ")
		priority, err := strconv.Atoi(number)
		if err != nil || !path.IsAbs(target) {
			return bad(i)
		}
		a.Choices = append(a.Choices, Choice{target, priority, lines[i+2 : i+2+len(a.Followers)]})
	}
	return a, nil
}

// Links returns the links of the alternative as they are when current is chosen, or, if has does not know current, the
// candidate of the highest priority that it knows; without one there are none.
func (a Alternative) Links(current string, has func(string) bool) []Link {
	var chosen *Choice
	if has(current) {
		chosen = &Choice{Path: current}
		if i := slices.IndexFunc(a.Choices, func(c Choice) bool { return c.Path == current }); i >= 0 {
			chosen = &a.Choices[i]
		}
	} else {
		for i, c := range a.Choices {
			if has(c.Path) && (chosen == nil || c.Priority > chosen.Priority) {
				chosen = &a.Choices[i]
			}
		}
	}
	if chosen == nil {
		return nil
	}
	pair := func(generic, name, target string) []Link {
		name = path.Join(Dir, name)
		return []Link{{generic, name}, {name, target}}
	}
	links := pair(a.Link, a.Name, chosen.Path)
	for i, target := range chosen.Targets {
		if target != "" && has(target) {
			links = append(links, pair(a.Followers[i].Path, a.Followers[i].Target, target)...)
		}
	}
	return links
}
