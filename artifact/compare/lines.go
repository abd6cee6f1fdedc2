package compare

import (
	"fmt"
	"strings"

	"hdjail/artifact"
)

// Lines shows a difference to people: changes that several derivations share, then causes with each change of their own, then what
// follows.
func (d *Derivations) Lines() (lines []string) {
	shared := d.shared()
	seen := map[string]bool{}
	for i := range d.Causes {
		for _, c := range d.Causes[i].Changes {
			if in := shared[c.Text()]; in != "" && !seen[in] {
				seen[in] = true
				lines = append(append(lines, "in "+in), d.sharedBy(in, shared)...)
			}
		}
	}
	for i := range d.Causes {
		p := &d.Causes[i]
		lines = append(lines, p.head())
		for _, c := range p.Changes {
			if shared[c.Text()] == "" {
				lines = append(lines, c.lines()...)
			}
		}
		if len(p.Dependencies) > 0 {
			lines = append(lines, "  and what follows from "+strings.Join(p.Dependencies, ", "))
		}
	}
	for i := range d.Follows {
		p := &d.Follows[i]
		lines = append(lines, p.head()+" follows from "+strings.Join(p.Dependencies, ", "))
	}
	return lines
}

// shared names, for each change of one line that several pairs have, these pairs.
func (d *Derivations) shared() map[string]string {
	names := map[string][]string{}
	for i := range d.Causes {
		for _, c := range d.Causes[i].Changes {
			if c.Diff == "" {
				names[c.Text()] = append(names[c.Text()], d.Causes[i].Name)
			}
		}
	}
	shared := map[string]string{}
	for text, list := range names {
		if len(list) > 1 {
			shared[text] = strings.Join(list, ", ")
		}
	}
	return shared
}

// sharedBy shows the changes that exactly these pairs share, in the order of the first of them.
func (d *Derivations) sharedBy(in string, shared map[string]string) (lines []string) {
	for i := range d.Causes {
		for _, c := range d.Causes[i].Changes {
			if shared[c.Text()] == in {
				lines = append(lines, "  ~ "+c.Text())
			}
		}
		if lines != nil {
			return lines
		}
	}
	return nil
}

func (p *Pair) head() string {
	way := ""
	if len(p.Via) > 1 {
		way = " (" + strings.Join(p.Via, " > ") + ")"
	}
	return fmt.Sprintf("%s %s → %s%s", p.Name, short(p.A.String()), short(p.B.String()), way)
}

// short is as much of an ID as people compare.
func short(id string) string { return id[:10] }

// Text is the change in one line: what, and its values but for those of several lines.
func (c Change) Text() string {
	name := strings.TrimSuffix(c.Field+" "+c.Key, " ")
	if c.Diff != "" {
		return name + ":"
	}
	return fmt.Sprintf("%s: %s → %s", name, value(c.A), value(c.B))
}

func value(text *string) string {
	if text == nil {
		return "(none)"
	}
	if *text == "" {
		return `""`
	}
	return strings.TrimSuffix(*text, "\n")
}

func (c Change) lines() []string {
	return append([]string{"  ~ " + c.Text()}, indented(c.Diff)...)
}

func indented(diff string) (lines []string) {
	for line := range strings.Lines(diff) {
		if line = strings.TrimSuffix(line, "\n"); !strings.HasPrefix(line, `\ No newline`) {
			lines = append(lines, "      "+line)
		}
	}
	return lines
}

// Lines shows the change to people.
func (c FileChange) Lines() []string {
	var head string
	switch {
	case c.A == "":
		head = fmt.Sprintf("+ %s (%s)", c.Path, c.B)
	case c.B == "":
		head = fmt.Sprintf("- %s (%s)", c.Path, c.A)
	case c.Offset < 0:
		head = fmt.Sprintf("~ %s: %s → %s", c.Path, c.A, c.B)
	case c.A == c.B:
		head = fmt.Sprintf("~ %s: %s, first difference at byte %d", c.Path, c.A, c.Offset)
	default:
		head = fmt.Sprintf("~ %s: %s → %s, first difference at byte %d", c.Path, c.A, c.B, c.Offset)
	}
	lines := append([]string{head}, indented(c.Diff)...)
	if c.Cut {
		lines = append(lines, "      …")
	}
	return lines
}

// Line shows the choice to people.
func (c Choice) Line() string {
	why := "follows"
	switch {
	case c.Cause:
		why = "its build gave another result"
	case c.SameTree:
		why = "follows, with the same tree"
	case len(c.A) != 1 || len(c.B) != 1:
		why = "another selection"
	}
	return fmt.Sprintf("%s %s → %s (%s): %s", c.Name, ids(c.A), ids(c.B), strings.Join(c.Via, " > "), why)
}

func ids(list []artifact.RealizationID) string {
	texts := make([]string, len(list))
	for i, id := range list {
		texts[i] = short(id.String())
	}
	if len(texts) == 0 {
		return "(none)"
	}
	return strings.Join(texts, ",")
}
