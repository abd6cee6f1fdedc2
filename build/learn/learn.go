package learn

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"hdjail/artifact"
	"hdjail/hostpkgs"
	"hdjail/policies"
	"hdjail/policies/audit"
)

// Host is what learning asks of the machine. Paths are absolute and clean, and real but for the last component.
type Host interface {
	// Look tells what is at a path, without following a link there.
	Look(path string) Entry
	// List returns the names in a directory, nil when it cannot be read.
	List(dir string) []string
	// Owners returns for each of the paths the packages that install it, or something below it, as "name:architecture".
	Owners(ctx context.Context, paths []string) (map[string][]string, error)
}

// Entry is what the host has at a path. Target is that of a link.
type Entry struct {
	Kind   Kind
	Target string
}

// Kind is a kind of file.
type Kind int

// The kinds of files. Other stands for devices, sockets and pipes.
const (
	None Kind = iota
	File
	Directory
	Link
	Other
)

// Input is what Learn works from. Audit, Installed and Host are required.
type Input struct {
	Audit *audit.Audit
	// Installed are the packages of the host.
	Installed []hostpkgs.Package
	Host      Host
	// Never are paths that are never proposed, absolute.
	Never []string
	// Rules are those of the site: more that is never proposed, and noise, which needs nothing.
	Rules []policies.PathRule
	// Home is the caller's home directory, empty for none.
	Home string
	// Stores are the directories of the store, its root and its prefix.
	Stores []string
	// Derivation is what the audit is of, when that is known: then the spec says the same, but for the host.
	Derivation *artifact.Derivation
	// Dir is the directory that paths of the spec start from.
	Dir string
	// Environment are variables that the run was given on top of its own.
	Environment map[string]string
}

// Draft is a learnt spec. Everything in it is sorted.
type Draft struct {
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
	// Heading says where the draft comes from, a line an element.
	Heading      []string           `json:"heading"`
	Sources      []Source           `json:"sources"`
	Dependencies []string           `json:"dependencies,omitempty"`
	Packages     []Entitled         `json:"packages"`
	Paths        []Entitled         `json:"paths,omitempty"`
	Environment  map[string]string  `json:"environment,omitempty"`
	Interpreter  []string           `json:"interpreter,omitempty"`
	Script       string             `json:"script"`
	Promises     []artifact.Promise `json:"promises,omitempty"`
	// Edit says what a person still has to look at.
	Edit []string `json:"edit,omitempty"`
	// Secrets were used, and are not proposed.
	Secrets []Entitled `json:"secrets,omitempty"`
	// Unused are entries of the run's whitelist that it never used.
	Unused []Unused `json:"unused,omitempty"`
}

// Entitled is an entry of the spec, or something that is none, with the reason.
type Entitled struct {
	Name   string `json:"name"`
	Reason string `json:"reason"`
}

// Source is an input of the learnt spec: Path, a local tree, or what a derivation had.
type Source struct {
	Path   string `json:"path,omitempty"`
	Digest string `json:"digest,omitempty"`
	Target string `json:"target,omitempty"`
	Unpack bool   `json:"unpack"`
	Reason string `json:"reason,omitempty"`
}

// Learn drafts the spec of a recorded run. An error is one of the Host's, or that nothing was recorded.
func Learn(ctx context.Context, in Input) (*Draft, error) {
	if len(in.Audit.Header.Observers) == 0 && len(in.Audit.Accesses) == 0 {
		return nil, fmt.Errorf("learn from audit: nothing was recorded (mode %s)", in.Audit.Header.Mode)
	}
	l := &learner{Input: in, graph: hostpkgs.NewGraph(in.Installed), draft: &Draft{}, uses: map[string]*use{},
		closures: map[string][]string{}}
	l.place()
	l.sift()
	l.describe()
	l.base()
	if err := l.own(ctx); err != nil {
		return nil, fmt.Errorf("learn from audit: %w", err)
	}
	if err := l.hostPaths(ctx); err != nil {
		return nil, fmt.Errorf("learn from audit: %w", err)
	}
	l.directories()
	l.finish()
	return l.draft, nil
}

// learner is one run of Learn. Its methods are called in the order of Learn.
type learner struct {
	Input
	graph *hostpkgs.Graph
	draft *Draft
	// command is what was run, in dir; tree is the directory that becomes the source, empty for none.
	command   []string
	dir, tree string
	// uses are the files of the host that the run needed, by real path.
	uses map[string]*use
	// owners are the packages of each of them.
	owners map[string][]string
	needs  map[string]*need
	// closures remembers what each package brings along.
	closures map[string][]string
	// closure is that of the needed packages.
	closure map[string]bool
	// paths are those that no package owns, with the reason.
	paths map[string]string
}

// place finds out what was run, and where.
func (l *learner) place() {
	l.command = l.Audit.Header.Command
	for _, p := range l.Audit.Processes { // before the command, there may be hdjail's own, of which little is known
		if l.dir == "" {
			l.dir = p.Cwd
		}
		if len(l.command) == 0 {
			l.command = p.Argv
		}
	}
	if l.Derivation != nil || l.dir == "" || inside(l.dir, jailAreas[:3]) {
		return
	}
	l.tree = l.dir
	for _, w := range l.Audit.Header.Whitelist.Writable {
		if below(w, l.dir) && len(w) < len(l.tree) && !l.tooWide(w) {
			l.tree = w
		}
	}
	if l.tooWide(l.tree) {
		l.edit("the command ran in %s, which cannot be a source as a whole: name the files that it needs under sources", l.tree)
		l.tree = ""
	}
}

// jailAreas are directories that every jail has of its own. The first three are not on the host at all.
var jailAreas = []string{"/build", "/deps", "/.hdjail", "/tmp", "/var/tmp", "/proc", "/dev", "/sys"}

// tooWide reports whether a directory is shown to no build as a whole.
func (l *learner) tooWide(dir string) bool {
	return path.Dir(dir) == "/" || dir == "/usr/local" || dir == "/var/tmp" || l.Home != "" && below(dir, l.Home) ||
		slices.ContainsFunc(l.Never, func(n string) bool { return below(dir, n) })
}

// below reports whether p is dir or lies below it.
func below(dir, p string) bool {
	return p == dir || dir == "/" || strings.HasPrefix(p, dir+"/")
}

func inside(p string, dirs []string) bool {
	return slices.ContainsFunc(dirs, func(dir string) bool { return dir != "" && below(dir, p) })
}

func (l *learner) edit(format string, args ...any) {
	l.draft.Edit = append(l.draft.Edit, fmt.Sprintf(format, args...))
}

// finish puts what was found into the draft, sorted.
func (l *learner) finish() {
	for name, n := range l.needs {
		l.draft.Packages = append(l.draft.Packages, Entitled{l.spelled(name), n.reason()})
	}
	for p, reason := range l.paths {
		if !utf8.ValidString(p) {
			l.edit("the run used %q (%s), which no spec can name", p, reason)
			continue
		}
		l.draft.Paths = append(l.draft.Paths, Entitled{p, reason})
	}
	for _, list := range [][]Entitled{l.draft.Packages, l.draft.Paths, l.draft.Secrets} {
		slices.SortFunc(list, func(a, b Entitled) int { return strings.Compare(a.Name, b.Name) })
	}
	slices.Sort(l.draft.Dependencies)
	slices.Sort(l.draft.Edit)
	l.draft.Unused = Find(l.Audit, l.graph)
}
