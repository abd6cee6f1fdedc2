package report

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"hdjail/policies"
	"hdjail/policies/audit"
)

// Difference is what differs between two audits. How often and when something was accessed, and by whom, makes none.
type Difference struct {
	Header []HeaderChange
	// OnlyA and OnlyB are accesses of a path by an operation that the other has in no outcome, or in fewer ones.
	OnlyA, OnlyB []audit.Access
	Changed      []Change
	a, b         *audit.Audit
}

// HeaderChange is a field of the header, or a package of the whitelist, that differs. Empty stands for absent.
type HeaderChange struct {
	Field string `json:"field"`
	A     string `json:"a"`
	B     string `json:"b"`
}

// Change is an access with another outcome, verdict or owner. A and B have the same operation and path.
type Change struct{ A, B audit.Access }

// Compare tells what differs between a and b.
func Compare(a, b *audit.Audit) *Difference {
	d := &Difference{Header: compareHeaders(a.Header, b.Header), a: a, b: b}
	others := map[accessKey][]audit.Access{}
	for _, access := range b.Accesses {
		key := keyOf(access)
		others[key] = append(others[key], access)
	}
	ours := map[accessKey][]audit.Access{}
	for _, access := range a.Accesses {
		key := keyOf(access)
		ours[key] = append(ours[key], access)
	}
	for key, list := range ours {
		d.compare(list, others[key])
		delete(others, key)
	}
	for _, list := range others {
		d.OnlyB = append(d.OnlyB, list...)
	}
	slices.SortFunc(d.OnlyA, order)
	slices.SortFunc(d.OnlyB, order)
	slices.SortFunc(d.Changed, func(x, y Change) int { return cmp.Or(order(x.A, y.A), order(x.B, y.B)) })
	return d
}

type accessKey struct {
	op   policies.Operation
	path string
	call string // what it was that has no path
}

func keyOf(a audit.Access) accessKey {
	key := accessKey{op: a.Op, path: a.Path}
	if a.Path == "" {
		key.call = strings.Join(a.Calls, " ")
	}
	return key
}

func order(a, b audit.Access) int {
	return cmp.Or(cmp.Compare(severity(a.Verdict), severity(b.Verdict)), cmp.Compare(a.Path, b.Path), cmp.Compare(a.Op, b.Op),
		cmp.Compare(a.Errno, b.Errno), cmp.Compare(owner(a), owner(b)))
}

func owner(a audit.Access) string {
	if len(a.Owners) == 0 {
		return ""
	}
	return PackageName(a.Owners[0])
}

// compare takes what one operation on one path gave: first those of the same outcome are compared, then what is left.
func (d *Difference) compare(a, b []audit.Access) {
	a, b = slices.Clone(a), slices.Clone(b)
	var left []audit.Access
	for _, x := range a {
		i := slices.IndexFunc(b, func(y audit.Access) bool { return x.Errno == y.Errno })
		if i < 0 {
			left = append(left, x)
			continue
		}
		if x.Verdict != b[i].Verdict || owner(x) != owner(b[i]) {
			d.Changed = append(d.Changed, Change{x, b[i]})
		}
		b = slices.Delete(b, i, i+1)
	}
	n := min(len(left), len(b))
	for i := range n {
		d.Changed = append(d.Changed, Change{left[i], b[i]})
	}
	d.OnlyA, d.OnlyB = append(d.OnlyA, left[n:]...), append(d.OnlyB, b[n:]...)
}

func compareHeaders(a, b audit.Header) (list []HeaderChange) {
	before, after := headerFields(a), headerFields(b)
	for i, field := range before {
		if field.A != after[i].A {
			list = append(list, HeaderChange{field.Field, field.A, after[i].A})
		}
	}
	versions := func(packages []audit.Owner) map[string]string {
		m := map[string]string{}
		for _, p := range packages {
			m[p.Package] = strings.TrimSpace(m[p.Package] + " " + p.Version + " " + p.Digest)
		}
		return m
	}
	was, is := versions(a.Whitelist.Packages), versions(b.Whitelist.Packages)
	var names []string
	for name := range was {
		names = append(names, name)
	}
	for name := range is {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		if was[name] != is[name] {
			list = append(list, HeaderChange{"whitelist package " + name, was[name], is[name]})
		}
	}
	return list
}

// headerFields are the fields that are compared, with their values as text; times and counters are not.
func headerFields(h audit.Header) []HeaderChange {
	text := func(value any) string {
		encoded, _ := json.Marshal(value) // strings, booleans and lists of them
		return strings.Trim(strings.TrimPrefix(string(encoded), "null"), `"`)
	}
	return []HeaderChange{{Field: "name", A: h.Name}, {Field: "derivation", A: h.Derivation}, {Field: "realization", A: h.Realization},
		{Field: "command", A: commandLine(h.Command)}, {Field: "mode", A: h.Mode}, {Field: "policy_digest", A: h.PolicyDigest},
		{Field: "system", A: h.System}, {Field: "kernel", A: h.Kernel}, {Field: "observers", A: text(h.Observers)},
		{Field: "recorded", A: h.Recorded}, {Field: "enforced", A: text(h.Enforced)}, {Field: "degradations", A: text(h.Degradations)},
		{Field: "exit", A: fmt.Sprint(h.Exit)}, {Field: "complete", A: fmt.Sprint(h.Complete)},
		{Field: "incomplete_reasons", A: text(h.IncompleteReasons)}, {Field: "lost", A: fmt.Sprint(h.Counters.Lost)},
		{Field: "whitelist requested", A: text(h.Whitelist.Requested)}, {Field: "whitelist paths", A: text(h.Whitelist.Paths)},
		{Field: "whitelist writable", A: text(h.Whitelist.Writable)}, {Field: "whitelist dependencies", A: text(h.Whitelist.Dependencies)}}
}

// Equal reports whether nothing differs.
func (d *Difference) Equal() bool {
	return len(d.Header)+len(d.OnlyA)+len(d.OnlyB)+len(d.Changed) == 0
}

// Lines are the difference for people, one entry a line: - is only in A, + only in B, ~ in both. The last line counts.
func (d *Difference) Lines() []string {
	var lines []string
	add := func(format string, args ...any) { lines = append(lines, Escape(fmt.Sprintf(format, args...))) }
	for _, h := range d.Header {
		add("~ %s: %s → %s", h.Field, cmp.Or(h.A, "(none)"), cmp.Or(h.B, "(none)"))
	}
	for _, c := range d.Changed {
		add("~ %s %s: %s", c.A.Op, place(c.A), strings.Join(c.texts(), ", "))
	}
	for _, side := range []struct {
		sign string
		list []audit.Access
	}{{"-", d.OnlyA}, {"+", d.OnlyB}} {
		for _, a := range side.list {
			add("%s %s %s %s  %s%s", side.sign, a.Verdict, a.Op, place(a), outcome(a), ownedBy(a))
		}
	}
	add("%s in the header, %s changed, %d only in the first, %d only in the second", plural(len(d.Header), "difference"),
		plural(len(d.Changed), "access"), len(d.OnlyA), len(d.OnlyB))
	return lines
}

func (c Change) texts() (list []string) {
	for _, field := range [][3]string{{"verdict", string(c.A.Verdict), string(c.B.Verdict)}, {"outcome", outcome(c.A), outcome(c.B)},
		{"package", cmp.Or(owner(c.A), "none"), cmp.Or(owner(c.B), "none")}} {
		if field[1] != field[2] {
			list = append(list, fmt.Sprintf("%s %s → %s", field[0], field[1], field[2]))
		}
	}
	return list
}

// MarshalJSON implements json.Marshaler: header, changed, only_a and only_b, with accesses as in the document of an audit.
func (d *Difference) MarshalJSON() ([]byte, error) {
	type pair struct {
		A any `json:"a"`
		B any `json:"b"`
	}
	encodeA, encodeB := d.a.Encoder(), d.b.Encoder()
	doc := struct {
		Equal   bool           `json:"equal"`
		Header  []HeaderChange `json:"header"`
		Changed []pair         `json:"changed"`
		OnlyA   []any          `json:"only_a"`
		OnlyB   []any          `json:"only_b"`
	}{d.Equal(), append([]HeaderChange{}, d.Header...), []pair{}, []any{}, []any{}}
	for _, c := range d.Changed {
		doc.Changed = append(doc.Changed, pair{encodeA(c.A), encodeB(c.B)})
	}
	for _, a := range d.OnlyA {
		doc.OnlyA = append(doc.OnlyA, encodeA(a))
	}
	for _, b := range d.OnlyB {
		doc.OnlyB = append(doc.OnlyB, encodeB(b))
	}
	return json.Marshal(doc)
}

// MarshalJSON implements json.Marshaler: path, exact and entries, each an access as in the document, why, and allow.
func (e Explanation) MarshalJSON() ([]byte, error) {
	type entry struct {
		Access any    `json:"access"`
		Why    string `json:"why"`
		Allow  string `json:"allow,omitempty"`
	}
	doc := struct {
		Path    string  `json:"path"`
		Exact   bool    `json:"exact"`
		Entries []entry `json:"entries"`
	}{e.Path, e.Exact, []entry{}}
	encode := e.lines.Encoder()
	for _, x := range e.Entries {
		doc.Entries = append(doc.Entries, entry{encode(x.Access), x.Why, x.Allow})
	}
	return json.Marshal(doc)
}
