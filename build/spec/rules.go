package spec

import (
	"errors"

	"hdjail/profile/links"
)

var ruleFields = []field[links.Rule]{
	{"action", false, func(d *decoder, n node, r *links.Rule) { r.Action = d.nonempty(n) }},
	{"select", false, func(d *decoder, n node, r *links.Rule) { r.Select = d.globs(n) }},
	{"source", false, func(d *decoder, n node, r *links.Rule) { r.Source = d.nonempty(n) }},
	{"prefix", false, func(d *decoder, n node, r *links.Rule) { r.Prefix = d.pointer(n) }},
	{"target", false, func(d *decoder, n node, r *links.Rule) { r.Target = d.pointer(n) }},
	{"dirs", false, func(d *decoder, n node, r *links.Rule) { r.Dirs = d.bool(n) }},
	{"overwrite", false, func(d *decoder, n node, r *links.Rule) { r.Overwrite = d.bool(n) }},
	{"exclude", false, func(d *decoder, n node, r *links.Rule) { r.Exclude = d.globs(n) }},
}

// links reads the rules by which the artifact is linked into profiles. An empty list is not nil: it links nothing.
func (d *decoder) links(n node) []links.Rule {
	rules := append([]links.Rule{}, readList(d, "links", n, (*decoder).rule)...)
	if d.err != nil {
		return nil
	}
	var wrong *links.RuleError
	if err := links.Check(rules); errors.As(err, &wrong) && wrong.Rule < len(n.values) {
		d.fail(n.values[wrong.Rule], wrong.Err.Error(), "")
	} else if err != nil {
		d.fail(n, err.Error(), "")
	}
	return rules
}

func (d *decoder) rule(n node) links.Rule {
	var r links.Rule
	readMapping(d, "links", n, ruleFields, &r)
	return r
}

func (d *decoder) globs(n node) links.Globs {
	if n.kind == isString {
		return links.Globs{d.nonempty(n)}
	}
	return readList(d, "", n, (*decoder).nonempty)
}

func (d *decoder) pointer(n node) *string {
	text := d.string(n)
	return &text
}
