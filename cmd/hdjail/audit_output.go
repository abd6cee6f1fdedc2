package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"hdjail/artifact/leaks"
	"hdjail/policies/audit"
)

// printOutput prints what the output of a run still needs of its surroundings, and which absolute paths it names.
func (a *app) printOutput(found *audit.Audit, asJSON bool) error {
	if found.Output == nil {
		return usagef("this audit says nothing of an output", "only builds have one: hdjail audit ID --output")
	}
	if asJSON {
		return a.out.json(found.Output)
	}
	var r leaks.Report
	if err := json.Unmarshal(found.Output, &r); err != nil {
		return fmt.Errorf("read what the output needs: %w", err)
	}
	for _, line := range outputLines(&r) {
		a.out.line("%s", escape(line))
	}
	return nil
}

func outputLines(r *leaks.Report) (lines []string) {
	add := func(format string, args ...any) {
		lines = append(lines, strings.TrimRight(fmt.Sprintf(format, args...), " "))
	}
	s := r.Summary
	add("%d files: %d ELF, %d texts, %d scripts; %d leaks", s.Files, s.ELF, s.Texts, s.Scripts, s.Leaks())
	for _, n := range r.ELF {
		add("%-10s %-11s %s: %s %s  %s", n.Belongs, n.Kind, n.File, n.Name, n.Path, ownerOf(n.Origin))
	}
	for _, p := range r.Runpaths {
		add("%-10s %-11s %s: %s (%s)  %s", p.Belongs, strings.ToLower(p.Tag), p.File, p.Entry, p.Reason, ownerOf(p.Origin))
	}
	for _, t := range r.Text {
		place := fmt.Sprintf("%s:%d", t.File, t.Line)
		if t.Line == 0 {
			place = t.File
		}
		add("%-10s %-11s %s: %s  %s", t.Belongs, t.Kind, place, t.Path, ownerOf(t.Origin))
	}
	for _, m := range r.Malformed {
		add("%-10s %-11s %s: %s", "", "malformed", m.File, m.Reason)
	}
	if t := r.Truncated; t.Needs+t.Runpaths+t.References+t.Malformed > 0 {
		add("not listed: %d needs, %d run paths, %d references, %d malformed files", t.Needs, t.Runpaths, t.References, t.Malformed)
	}
	return lines
}

// ownerOf is who something belongs to, as far as that is known.
func ownerOf(o leaks.Origin) string {
	if o.Package != "" {
		return o.Package + " " + o.PackageVersion
	}
	return o.Dependency
}
