package learn

import (
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"hdjail/artifact"
	"hdjail/policies"
	"hdjail/policies/audit"
)

// use is a file of the host that the run needed.
type use struct {
	path string
	kind Kind
	// asked tells that it was only looked up, and not read, run, listed or entered.
	asked bool
	first time.Duration
	// by is what used it, in words: "read by cc1 (pid 5)". Process tells that it names one.
	by      string
	process bool
	// recorded are the owners that the audit names.
	recorded []audit.Owner
}

// sift collects the uses: what was there for the run, or would have been without the jail.
func (l *learner) sift() {
	s := &sifter{learner: l, walker: walker{look: l.Host.Look, seen: map[string]step{}}, processes: map[int]audit.Process{},
		listings: map[string]time.Duration{}, said: map[string]bool{}}
	for _, p := range l.Audit.Processes {
		s.processes[p.ID] = p
		if path.IsAbs(p.Exe) { // an interpreter is opened by the kernel, which not every observer sees
			s.access(audit.Access{Op: policies.OpExec, Path: path.Clean(p.Exe), Verdict: policies.Allowed, First: p.Start, Process: p.ID})
		}
	}
	for _, a := range l.Audit.Accesses {
		if !s.surveys(a) {
			s.access(a)
		}
	}
	s.forgetEnumerated()
}

// surveys reports whether an access is one of a program that looks at every library of the machine, and needs none.
func (s *sifter) surveys(a audit.Access) bool {
	exe := path.Base(s.processes[a.Process].Exe)
	return (exe == "ldconfig" || exe == "ldconfig.real") && a.Op != policies.OpExec
}

// sifter sorts the accesses of an audit.
type sifter struct {
	*learner
	walker walker
	// listings tell when the names in each directory were read first.
	listings  map[string]time.Duration
	secrets   []*use
	processes map[int]audit.Process
	said      map[string]bool
}

func (s *sifter) access(a audit.Access) {
	switch a.Verdict {
	case policies.Allowed, policies.Leaked, policies.Hidden, policies.Denied:
	case policies.Unknown:
		s.once("some paths could not be told, so something may be missing here")
		return
	default:
		return
	}
	if !path.IsAbs(a.Path) || s.ours(path.Clean(a.Path)) && (a.Resolved == "" || s.ours(a.Resolved)) {
		return
	}
	if policies.MatchPath(s.Rules, a.Op, path.Clean(a.Path)) == policies.RuleNoise {
		return
	}
	if s.secret(a) || a.Verdict == policies.Denied && !a.Op.Changes() {
		return
	}
	if a.Op.Changes() && a.Errno != 0 && a.Verdict != policies.Denied {
		a.Op = policies.OpProbe // like mkdir of a directory that is there
	}
	switch {
	case a.Op.Changes() && s.Home != "" && strings.HasPrefix(a.Path, s.Home+"/."): // a build has a writable home, too
	case a.Op.Changes():
		s.once("the run changed files outside its directories, such as %s, which a build cannot: %s", a.Path, s.by(a))
	case a.Op == policies.OpConnect:
		s.once("the run connected to %s; a build has no network and no sockets of the host", a.Path)
	case a.Op == policies.OpWatch || a.Op == policies.OpMount || a.Op == policies.OpCall:
	case s.dependency(a) || s.personal(a):
	default:
		s.take(a)
	}
}

// ours reports whether a path needs nothing: the jail has it of its own, or the source is there.
func (s *sifter) ours(p string) bool {
	return inside(p, jailAreas) || s.tree != "" && (below(s.tree, p) || below(p, s.tree)) || p == "/" ||
		inside(p, s.Audit.Header.Whitelist.Writable) || slices.Contains(jailMade, p)
}

// jailMade are files that a jail makes for itself, and those that it never shows (docs/design.md). The locale archive and the
// local time are the user's: a build's LC_ALL is C.UTF-8, and its TZ is UTC.
var jailMade = []string{"/etc/passwd", "/etc/group", "/etc/hosts", "/etc/nsswitch.conf", "/etc/ld.so.cache", "/etc/resolv.conf",
	"/etc/machine-id", "/etc/mtab", "/etc/localtime", "/usr/lib/locale/locale-archive"}

func (s *sifter) secret(a audit.Access) bool {
	for _, p := range []string{a.Path, a.Resolved} {
		if p != "" && (inside(p, s.Never) || policies.MatchPath(s.Rules, a.Op, path.Clean(p)) == policies.RuleNever) {
			s.secrets = append(s.secrets, &use{path: a.Path, asked: a.Op == policies.OpProbe, first: a.First, by: s.by(a)})
			return true
		}
	}
	return false
}

// dependency reports whether a path is hdjail's own; an artifact there becomes a dependency.
func (s *sifter) dependency(a audit.Access) bool {
	found := false
	for _, p := range slices.Concat([]string{a.Path, a.Resolved}, a.Via) {
		for _, root := range s.Stores {
			rest, in := strings.CutPrefix(p, root+"/")
			if !in {
				found = found || p == root
				continue
			}
			found = true
			name, _ := strings.CutPrefix(rest, "store/")
			if id, err := artifact.ParseDerivationID(name[:min(len(name), artifact.IDLength)]); err == nil && name != rest &&
				!slices.Contains(s.draft.Dependencies, id.String()) && s.Derivation == nil {
				s.draft.Dependencies = append(s.draft.Dependencies, id.String())
			}
		}
	}
	return found
}

// personal reports whether a path is configuration of the caller's home, which a build's empty one has not.
func (s *sifter) personal(a audit.Access) bool {
	rest, in := strings.CutPrefix(a.Path, s.Home+"/")
	if s.Home == "" || !in {
		return s.Home != "" && below(a.Path, s.Home)
	}
	first, _, deep := strings.Cut(rest, "/")
	if !strings.HasPrefix(first, ".") || deep && first != ".config" && first != ".cache" {
		return false
	}
	if s.kind(a.Path) == File {
		s.once("the run used %s of your home (%s); a build's home is empty", "~/"+rest, s.by(a))
	}
	return true
}

// once adds a line for the reader, but only the first of its kind.
func (s *sifter) once(format string, args ...any) {
	if !s.said[format] {
		s.said[format] = true
		s.edit(format, args...)
	}
}

// take adds what an access needs: its file, and the links on the way.
func (s *sifter) take(a audit.Access) {
	follow := a.Op == policies.OpRead || a.Op == policies.OpExec || a.Op == policies.OpList || a.Op == policies.OpChdir || a.Resolved != ""
	end, links := absolute(a.Resolved), a.Via
	if !strings.Contains(a.Path, "/..") {
		walked, met := s.walker.walk(path.Clean(a.Path), follow)
		links = append(slices.Clone(links), met...)
		if end == "" {
			end = walked
		}
	}
	if end == "" {
		end = path.Clean(a.Path)
	}
	for _, link := range links {
		if link = absolute(link); link != "" && s.kind(link) == Link {
			s.add(a, link, Link)
		}
	}
	if at, known := s.listings[end]; a.Op == policies.OpList && (!known || a.First < at) {
		s.listings[end] = a.First
	}
	kind := s.kind(end)
	if kind == None && len(a.Owners) == 1 {
		kind = File // another host's audit, or a file that is gone since
	}
	s.add(a, end, kind)
}

// absolute is a path of a record in its clean form, empty for one that is not absolute.
func absolute(p string) string {
	if !path.IsAbs(p) {
		return ""
	}
	return path.Clean(p)
}

// topmost are directories, or links in their place, that a jail has or that no build can see.
var topmost = []string{"/bin", "/boot", "/etc", "/home", "/lib", "/lib32", "/lib64", "/libx32", "/media", "/mnt", "/opt", "/root", "/run",
	"/sbin", "/srv", "/usr", "/var"}

func (s *sifter) kind(p string) Kind { return s.walker.look(p).Kind }

func (s *sifter) add(a audit.Access, p string, kind Kind) {
	if kind == None || kind == Other || s.ours(p) || kind != File && slices.Contains(topmost, p) || s.secret(audit.Access{Path: p, Process: a.Process, Op: a.Op, First: a.First}) {
		return
	}
	u := s.uses[p]
	asked := a.Op == policies.OpProbe
	switch {
	case u == nil:
		u = &use{path: p, kind: kind, first: a.First, by: s.by(a), asked: asked}
		s.uses[p] = u
	case a.First < u.first:
		u.first, u.by = a.First, s.by(a)
	}
	u.process = strings.Contains(u.by, " by ")
	u.asked = u.asked && asked
	if kind != Directory && len(u.recorded) == 0 {
		u.recorded = a.Owners
	}
}

// metadata is what Python keeps of installed packages. Its names have versions in them, so a program that reads it has found
// it by going through the directory, and reads that of every package.
var metadata = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`/[^/]+\.(egg|dist)-info(/|$)`)
})

// forgetEnumerated drops what was only looked up after its directory was listed, if that happened to nearly all of it: a
// program that goes through it does not ask for what the listing of a build does not have. Secrets that are left are
// reported, one a place.
func (s *sifter) forgetEnumerated() {
	asked := map[string]map[string]bool{} // by directory
	for _, a := range s.Audit.Accesses {
		if dir := path.Dir(a.Path); a.Op == policies.OpProbe && a.Verdict != policies.Absent {
			if asked[dir] == nil {
				asked[dir] = map[string]bool{}
			}
			asked[dir][a.Path] = true
		}
	}
	met := func(u *use) bool {
		dir, found := path.Dir(u.path), false
		if at := metadata().FindStringIndex(u.path); at != nil {
			dir, found = u.path[:at[0]], true
		}
		at, listed := s.listings[dir]
		return listed && at <= u.first && (found || u.asked && 10*len(asked[dir]) >= 9*len(s.Host.List(dir)))
	}
	dropped := map[string]bool{}
	for _, p := range slices.Sorted(maps.Keys(s.uses)) { // a directory comes before what is in it
		if u := s.uses[p]; met(u) || u.asked && dropped[path.Dir(p)] {
			dropped[p] = true
		}
	}
	maps.DeleteFunc(s.uses, func(p string, _ *use) bool { return dropped[p] })
	for _, u := range s.secrets {
		if !met(u) && !s.said[u.path] {
			s.said[u.path] = true
			s.draft.Secrets = append(s.draft.Secrets, Entitled{u.path, u.by})
		}
	}
}

var deeds = map[policies.Operation]string{policies.OpRead: "read", policies.OpProbe: "looked up", policies.OpReadlink: "looked up",
	policies.OpList: "listed", policies.OpChdir: "entered", policies.OpExec: "run", policies.OpConnect: "connected to"}

// by says who did it: "read by cc1 (pid 5)".
func (s *sifter) by(a audit.Access) string {
	deed := deeds[a.Op]
	if deed == "" {
		deed = "changed"
	}
	p, known := s.processes[a.Process]
	if a.Op == policies.OpExec && p.Exe == a.Path {
		p, known = s.processes[p.Parent]
		if !path.IsAbs(p.Exe) {
			return "the command itself"
		}
	}
	switch {
	case !known:
		return deed
	case a.Op == policies.OpExec && !path.IsAbs(p.Exe): // hdjail's own process, which becomes the command
		return "the command itself"
	}
	return fmt.Sprintf("%s by %s (pid %d)", deed, path.Base(p.Exe), p.PID)
}
