package spec

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"hdjail/artifact"
	"hdjail/policies"
)

// DefaultPolicy is the name of the policy of a spec that names none.
const DefaultPolicy = "default"

// Parse reads a spec, YAML or JSON. Every error is an *Error with its place in text; file is only used in messages, but
// for the ending .json, which forbids YAML.
func Parse(file string, text []byte) (*Spec, error) {
	root, err := parseTree(file, text)
	if err != nil {
		return nil, err
	}
	return (&decoder{file: file, text: text}).spec(root)
}

func (d *decoder) spec(root node) (*Spec, error) {
	s := &Spec{File: d.file, text: d.text, Interpreter: []string{"/bin/sh", "-eu"}, Policy: DefaultPolicy,
		Mode: policies.ModeHide, Network: "none"}
	d.places = make([]place, 0, 16)
	if root.kind == isNull {
		d.fail(root, "spec is empty", "a spec begins with `hdjail: 1`")
	}
	readMapping(d, "", root, specFields, s)
	if d.err != nil {
		return nil, d.err
	}
	if s.places = d.places; d.references {
		s.root = &root
	}
	return s, nil
}

// field is one key of a mapping that becomes a T.
type field[T any] struct {
	name     string
	required bool
	read     func(d *decoder, n node, into *T)
}

var specFields = []field[Spec]{
	{"hdjail", true, func(d *decoder, n node, s *Spec) { s.Format = d.format(n) }},
	{"name", true, func(d *decoder, n node, s *Spec) { s.Name = d.name(n) }},
	{"version", false, func(d *decoder, n node, s *Spec) { s.Version = d.version(n) }},
	{"sources", false, func(d *decoder, n node, s *Spec) { s.Sources = readList(d, "sources", n, (*decoder).source) }},
	{"dependencies", false, func(d *decoder, n node, s *Spec) {
		s.Dependencies = readList(d, "dependencies", n, (*decoder).dependency)
	}},
	{"host", false, func(d *decoder, n node, s *Spec) { readMapping(d, "host", n, hostFields, &s.Host) }},
	{"environment", false, func(d *decoder, n node, s *Spec) { s.Environment = d.environment(n) }},
	{"interpreter", false, func(d *decoder, n node, s *Spec) { s.Interpreter = d.interpreter(n) }},
	{"script", true, func(d *decoder, n node, s *Spec) { s.Script = d.nonempty(n) }},
	{"promises", false, func(d *decoder, n node, s *Spec) { s.Promises = d.promises(n) }},
	{"policy", false, func(d *decoder, n node, s *Spec) { s.Policy = d.name(n) }},
	{"mode", false, func(d *decoder, n node, s *Spec) { s.Mode = d.mode(n) }},
	{"network", false, func(d *decoder, n node, s *Spec) { s.Network = d.network(n) }},
	{"limits", false, func(d *decoder, n node, s *Spec) { readMapping(d, "limits", n, limitFields, &s.Limits) }},
	{"match", false, func(d *decoder, n node, s *Spec) { s.Match = d.matcher(n) }},
	{"links", false, func(d *decoder, n node, s *Spec) { s.Links = d.links(n) }},
}

var hostFields = []field[Host]{
	{"packages", false, func(d *decoder, n node, h *Host) {
		h.Packages = readList(d, "host.packages", n, (*decoder).packageName)
	}},
	{"paths", false, func(d *decoder, n node, h *Host) { h.Paths = readList(d, "host.paths", n, (*decoder).hostPath) }},
}

var sourceFields = []field[Source]{
	{"sha256", false, func(d *decoder, n node, s *Source) { s.SHA256 = d.hex(n, 64) }},
	{"blake3", false, func(d *decoder, n node, s *Source) { s.BLAKE3 = d.hex(n, 64) }},
	{"git", false, func(d *decoder, n node, s *Source) { s.Git = d.hex(n, 40) }},
	{"path", false, func(d *decoder, n node, s *Source) { s.Path = d.nonempty(n) }},
	{"urls", false, func(d *decoder, n node, s *Source) { s.URLs = readList(d, "", n, (*decoder).url) }},
	{"target", false, func(d *decoder, n node, s *Source) { s.Target = d.target(n) }},
	{"unpack", false, func(d *decoder, n node, s *Source) { s.Unpack = d.unpack(n) }},
}

var dependencyFields = []field[Dependency]{
	{"spec", false, func(d *decoder, n node, dep *Dependency) { dep.Spec = d.nonempty(n) }},
	{"id", false, func(d *decoder, n node, dep *Dependency) { dep.ID = d.derivationID(n) }},
	{"as", false, func(d *decoder, n node, dep *Dependency) { dep.As = d.variable(n) }},
	{"match", false, func(d *decoder, n node, dep *Dependency) { dep.Match = d.matcher(n) }},
	{"many", false, func(d *decoder, n node, dep *Dependency) { dep.Many = d.bool(n) }},
}

var promiseFields = []field[artifact.Promise]{
	{"path", true, func(d *decoder, n node, p *artifact.Promise) { p.Path = d.promisePath(n) }},
	{"kind", false, func(d *decoder, n node, p *artifact.Promise) { p.Kind = d.promiseKind(n) }},
	{"name", false, func(d *decoder, n node, p *artifact.Promise) { p.Name = d.name(n) }},
}

var hostPathFields = []field[HostPath]{
	{"path", true, func(d *decoder, n node, p *HostPath) { p.Path = d.hostPathText(n) }},
	{"id", false, func(d *decoder, n node, p *HostPath) { p.ID = d.name(n) }},
}

var limitFields = []field[Limits]{
	{"memory", false, func(d *decoder, n node, l *Limits) { l.Memory = d.size(n) }},
	{"pids", false, func(d *decoder, n node, l *Limits) { l.Pids = d.count(n) }},
	{"cpu", false, func(d *decoder, n node, l *Limits) { l.CPU = d.positive(n) }},
	{"wall", false, func(d *decoder, n node, l *Limits) { l.Wall = d.duration(n) }},
	{"silence", false, func(d *decoder, n node, l *Limits) { l.Silence = d.duration(n) }},
	{"output", false, func(d *decoder, n node, l *Limits) { l.Output = d.size(n) }},
	{"files", false, func(d *decoder, n node, l *Limits) { l.Files = d.count(n) }},
	{"log", false, func(d *decoder, n node, l *Limits) { l.Log = d.size(n) }},
}

// readMapping reads the keys of n that fields lists; any other key, a second one of the same name, and a required one
// that is missing are errors. section is the name of the mapping, empty for the whole spec.
func readMapping[T any](d *decoder, section string, n node, fields []field[T], into *T) {
	if !d.want(n, isMapping) {
		return
	}
	seen := make([]bool, len(fields))
	for i, key := range n.keys {
		at := slices.IndexFunc(fields, func(f field[T]) bool { return f.name == key.text })
		switch {
		case at < 0:
			d.unknown(key, section, names(fields))
		case seen[at]:
			d.fail(key, fmt.Sprintf("key %q is given twice", key.text), "")
		default:
			seen[at] = true
			if section == "" {
				d.place(key.text, -1, n.values[i])
			}
			fields[at].read(d, n.values[i], into)
		}
		if d.err != nil {
			return
		}
	}
	for i, f := range fields {
		if f.required && !seen[i] {
			d.fail(n, fmt.Sprintf("key %q is missing", f.name), "")
		}
	}
}

func names[T any](fields []field[T]) []string {
	list := make([]string, len(fields))
	for i, f := range fields {
		list[i] = f.name
	}
	return list
}

// readList reads a sequence. key is what the places of its items are remembered by, empty for not at all.
func readList[T any](d *decoder, key string, n node, read func(*decoder, node) T) []T {
	if !d.want(n, isSequence) || len(n.values) == 0 {
		return nil
	}
	list := make([]T, 0, len(n.values))
	for i, item := range n.values {
		if key != "" {
			d.place(key, i, item)
		}
		list = append(list, read(d, item))
		if d.err != nil {
			return nil
		}
	}
	return list
}

func (d *decoder) source(n node) Source {
	s := Source{Unpack: true}
	readMapping(d, "sources", n, sourceFields, &s)
	if d.err != nil {
		return s
	}
	identities := 0
	for _, text := range []string{s.SHA256, s.BLAKE3, s.Git, s.Path} {
		if text != "" {
			identities++
		}
	}
	switch {
	case identities != 1:
		d.fail(n, "a source has exactly one of sha256, blake3, git and path", "")
	case s.Path != "" && len(s.URLs) > 0:
		d.fail(n, "a source with a path has no urls", "")
	case s.Git != "" && !s.Unpack:
		d.fail(n, "unpack: none does not fit a git commit, which is a tree", "")
	case !s.Unpack && s.Target == "" && s.Path != "":
		s.Target = path.Base(path.Clean(s.Path))
	case !s.Unpack && s.Target == "":
		d.fail(n, "a source with unpack: none needs a target", "name the file it becomes: `target: data.bin`; a URL never names it")
	}
	return s
}

func (d *decoder) dependency(n node) Dependency {
	var dep Dependency
	readMapping(d, "dependencies", n, dependencyFields, &dep)
	if d.err == nil && (dep.Spec == "") == (dep.ID == "") {
		d.fail(n, "a dependency has exactly one of spec and id", "")
	}
	return dep
}

func (d *decoder) promises(n node) []artifact.Promise {
	list := readList(d, "promises", n, (*decoder).promise)
	for i, p := range list {
		same := func(q artifact.Promise) bool { return p.Name != "" && q.Name == p.Name }
		if d.err == nil && slices.ContainsFunc(list[:i], same) {
			d.fail(n.values[i], fmt.Sprintf("a second promise is called %s", p.Name), "")
		}
	}
	return list
}

func (d *decoder) promise(n node) artifact.Promise {
	p := artifact.Promise{Kind: artifact.PromiseExists}
	if n.kind == isString {
		p.Path = d.promisePath(n)
		return p
	}
	readMapping(d, "promises", n, promiseFields, &p)
	return p
}

func (d *decoder) hostPath(n node) HostPath {
	if n.kind == isString {
		return HostPath{Path: d.hostPathText(n)}
	}
	var p HostPath
	readMapping(d, "host.paths", n, hostPathFields, &p)
	return p
}

func (d *decoder) environment(n node) map[string]string {
	if !d.want(n, isMapping) || len(n.keys) == 0 {
		return nil
	}
	env := make(map[string]string, len(n.keys))
	for i, key := range n.keys {
		name := d.variable(key)
		if _, twice := env[name]; twice {
			d.fail(key, fmt.Sprintf("key %q is given twice", name), "")
		}
		if slices.Contains(reserved, name) {
			d.fail(key, fmt.Sprintf("variable %s is set by the jail", name), "")
		}
		d.place("environment."+name, -1, n.values[i])
		value := n.values[i]
		value.text = d.scalar(value)
		d.refer(&value, later)
		env[name] = value.text
		if d.err != nil {
			return nil
		}
	}
	return env
}

// reserved are variables whose values the jail states as facts. Those of dependencies are reserved too, and are checked
// where their names are known. Others of the jail's own, PATH or TZ, may be replaced.
var reserved = []string{"ARTIFACT", "BUILD", "JOBS", "LOGNAME", "MAKEFLAGS", "PWD", "USER"}

// Reserved lists the variables that no spec sets.
func Reserved() []string { return slices.Clone(reserved) }

func (d *decoder) interpreter(n node) []string {
	var command []string
	if n.kind == isSequence {
		command = readList(d, "", n, (*decoder).nonempty)
	} else {
		command = strings.Fields(d.nonempty(n))
	}
	pending := false
	for i := range command {
		word := n
		if n.kind == isSequence {
			word = n.values[i]
		}
		word.text = command[i]
		pending = d.refer(&word, self) && i == 0 || pending
		command[i] = word.text
	}
	switch {
	case d.err != nil || pending:
	case len(command) == 0:
		d.fail(n, "interpreter is empty", "")
	case !path.IsAbs(command[0]) || path.Clean(command[0]) != command[0]:
		d.fail(n, fmt.Sprintf("interpreter %q is not an absolute path", command[0]), "write /bin/sh, /usr/bin/python3")
	case slices.Contains([]string{"/proc", "/dev", "/sys"}, firstComponent(command[0])):
		d.fail(n, fmt.Sprintf("interpreter %q lies below %s", command[0], firstComponent(command[0])), "")
	}
	return command
}
