package rpm

import (
	"bytes"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"hdjail/hostpkgs"
	"hdjail/hostpkgs/rootpath"
)

// queryFormat prints a line P for each package and then one for each thing that it requires (R), provides (V) and
// installed (F). Paths come last, because they may hold tabs.
const queryFormat = `P\t%{NAME}\t%{EPOCHNUM}\t%{VERSION}-%{RELEASE}\t%{ARCH}\t%{SHA1HEADER}-%{INSTALLTIME}\n` +
	`[R\t%{REQUIRENAME}\n][V\t%{PROVIDENAME}\n][F\t%{FILEFLAGS}\t%{FILENAMES}\n]`

// record is a package as rpm describes it. rich holds its requirements in brackets, "(a if b)".
type record struct {
	hostpkgs.Package
	contents hostpkgs.Contents
	rich     []string
}

// none is what rpm prints for a tag that a package does not have.
const none = "(none)"

// configFlag marks a file that an administrator may edit (RPMFILE_CONFIG).
const configFlag = 1

// parseQuery reads the output of a query with queryFormat. Keys, which rpm keeps as packages without architecture, are
// left out.
func parseQuery(output []byte) ([]record, error) {
	var records []record
	number := 0
	for line := range bytes.Lines(output) {
		number++
		kind, rest, ok := strings.Cut(strings.TrimSuffix(string(line), "\n"), "\t")
		switch {
		case ok && kind == "P":
			r, err := parsePackage(rest)
			if err != nil {
				return nil, fmt.Errorf("line %d: %w", number, err)
			}
			records = append(records, r)
		case !ok || len(records) == 0:
			return nil, fmt.Errorf("line %d: malformed", number)
		case rest == none || rest == none+"\t"+none:
		default:
			if err := records[len(records)-1].add(kind, rest); err != nil {
				return nil, fmt.Errorf("line %d: %w", number, err)
			}
		}
	}
	return slices.DeleteFunc(records, func(r record) bool { return r.Architecture == none }), nil
}

func parsePackage(text string) (record, error) {
	fields := strings.Split(text, "\t")
	if len(fields) != 5 || fields[0] == "" {
		return record{}, fmt.Errorf("malformed package")
	}
	var r record
	r.Name, r.Version, r.Architecture = fields[0], fields[2], fields[3]
	if fields[1] != "0" {
		r.Version = fields[1] + ":" + r.Version
	}
	r.contents.Fingerprint = fields[4]
	return r, nil
}

func (r *record) add(kind, value string) error {
	switch kind {
	case "R":
		switch {
		case strings.HasPrefix(value, "rpmlib("): // a feature of rpm
		case strings.HasPrefix(value, "("):
			r.rich = append(r.rich, value)
		default:
			r.require(value)
		}
	case "V":
		r.Provides = append(r.Provides, value)
	case "F":
		flags, name, _ := strings.Cut(value, "\t")
		bits, err := strconv.Atoi(flags)
		if err != nil || !path.IsAbs(name) {
			return fmt.Errorf("malformed file")
		}
		name = path.Clean(name)
		r.contents.Paths = append(r.contents.Paths, name)
		if bits&configFlag != 0 {
			r.contents.Config = append(r.contents.Config, name)
		}
	default:
		return fmt.Errorf("unknown kind %q", kind)
	}
	return nil
}

// require adds a requirement once: rpm repeats a name for each version and scriptlet.
func (r *record) require(name string) {
	group := []hostpkgs.Dependency{{Name: name}}
	if !slices.ContainsFunc(r.Depends, func(g []hostpkgs.Dependency) bool { return g[0] == group[0] }) {
		r.Depends = append(r.Depends, group)
	}
}

// provideFiles makes files that are required by path something that their package provides, under the path as it is
// required, which may lead through links (/bin/sh).
func provideFiles(records []record, names *rootpath.Resolver) {
	required := map[string][]string{} // by real path
	bases := map[string]bool{}
	for _, r := range records {
		for _, group := range r.Depends {
			if name := group[0].Name; path.IsAbs(name) {
				real := names.Name(name).Path
				if !slices.Contains(required[real], name) {
					required[real] = append(required[real], name)
				}
				bases[path.Base(name)] = true
			}
		}
	}
	for i := range records {
		for _, name := range records[i].contents.Paths {
			if bases[path.Base(name)] {
				records[i].Provides = append(records[i].Provides, required[names.Name(name).Path]...)
			}
		}
	}
}

// markNative marks the packages of rpm's own architecture; without the package rpm, all.
func markNative(records []record) {
	native := ""
	for _, r := range records {
		if r.Name == "rpm" {
			native = r.Architecture
		}
	}
	for i, r := range records {
		records[i].Native = native == "" || r.Architecture == native || r.Architecture == "noarch"
	}
}

// requireRich turns rich requirements ("(a if b)", rpm-dependencies(7)) into what they name and the host has. That may be
// more than is needed, never less.
func requireRich(records []record) {
	known := map[string]bool{}
	for _, r := range records {
		known[r.Name] = true
		for _, name := range r.Provides {
			known[name] = true
		}
	}
	for i := range records {
		for _, text := range records[i].rich {
			for _, name := range richNames(text) {
				if known[name] {
					records[i].require(name)
				}
			}
		}
	}
}

// richNames returns the words of a rich requirement that may be names; operators and versions are words too, but nothing
// provides them.
func richNames(text string) []string {
	var names []string
	for word := range strings.FieldsSeq(text) {
		word = strings.TrimLeft(word, "(")
		for strings.Count(word, ")") > strings.Count(word, "(") && strings.HasSuffix(word, ")") {
			word = strings.TrimSuffix(word, ")")
		}
		names = append(names, word)
	}
	return names
}
