package leaks

import (
	"bytes"
	"path"
	"strings"

	"hdjail/artifact"
)

// maxPath is the longest path that a file can be opened by, in bytes (PATH_MAX without its NUL).
const maxPath = 4095

// judge says what paths belong to. It asks the caller once for each, and is for one goroutine.
type judge struct {
	view        *view
	whitelisted func(path string) bool
	owner       func(path string) (name, version string, ok bool)
	host        func(path string) bool
	artifact    string
	deps        []Place
	stores      []string
	buildDirs   []string
	known       map[string]bool   // what the host has
	owners      map[string]Origin // packages of the host
	verdicts    map[string]verdict
}

// verdict is what there is to say of a reference. One that is not told is not worth a line; of one that is not judged
// nothing is known, as there were too many before it.
type verdict struct {
	origin Origin
	absent bool
	told   bool
	judged bool
}

func newJudge(v *view, o Options) *judge {
	return &judge{view: v, whitelisted: o.Whitelisted, owner: o.Owner, host: o.OnHost, artifact: o.Artifact, deps: o.Dependencies,
		stores: o.Stores, buildDirs: o.BuildDirs, known: map[string]bool{}, owners: map[string]Origin{}, verdicts: map[string]verdict{}}
}

// onHost asks whether the host has a clean path.
func (j *judge) onHost(name string) bool {
	if j.host == nil {
		return false
	}
	has, ok := j.known[name]
	if !ok {
		// Most of what looks like a path in a text begins with a name that no host has.
		top := name
		if slash := strings.IndexByte(name[1:], '/'); slash >= 0 {
			top = name[:1+slash]
		}
		has = (top == name || j.onHost(top)) && j.host(name)
		if len(j.known) < maxMemory {
			j.known[name] = has
		}
	}
	return has
}

// owned completes an origin by the package of the host that owns a path.
func (j *judge) owned(name string, o Origin) Origin {
	if j.owner == nil {
		return o
	}
	owner, ok := j.owners[name]
	if !ok {
		if p, version, ok := j.owner(name); ok {
			owner = Origin{Package: p, PackageVersion: version}
		}
		if len(j.owners) < maxMemory {
			j.owners[name] = owner
		}
	}
	o.Package, o.PackageVersion = owner.Package, owner.PackageVersion
	return o
}

// leak is the origin of a clean path that is outside the whitelist and on the host.
func (j *judge) leak(name string) Origin { return j.owned(name, Origin{Belongs: Leak}) }

// outside is the origin of a clean path that the view does not have.
func (j *judge) outside(name string) Origin {
	if j.onHost(name) {
		return j.leak(name)
	}
	return Origin{Belongs: Missing}
}

// origins is the origin of what was found in the view.
func (j *judge) origins(f found) Origin {
	if f.place == nil {
		return j.outside(f.path) // a directory that only leads to artifacts or whitelisted paths
	}
	o := f.place.origin
	if o.Belongs != Package {
		return o
	}
	if f.place.public == "/" && j.whitelisted != nil && !j.whitelisted(f.path) {
		o.Belongs = Leak
	}
	return j.owned(f.path, o)
}

// reference judges a path that a file names.
func (j *judge) reference(name string) verdict {
	v, ok := j.verdicts[name]
	if !ok && len(j.verdicts) < maxMemory {
		v = j.decide(name)
		v.judged = true
		j.verdicts[name] = v
	}
	return v
}

// interpreter judges the interpreter of a script, which is told wherever it leads.
func (j *judge) interpreter(name string) Origin {
	v := j.decide(name)
	if v.origin.Belongs == "" {
		return j.outside(path.Clean(name))
	}
	return v.origin
}

func (j *judge) decide(name string) verdict {
	clean := path.Clean(name)
	if v := j.artifacts(clean, name); v.told {
		return v
	}
	if _, ok := below(clean, kernelDirs); ok {
		return verdict{origin: Origin{Belongs: Package}}
	}
	if _, ok := below(clean, j.buildDirs); ok {
		return verdict{origin: Origin{Belongs: BuildDir}, told: true}
	}
	if strings.Count(clean, "/") < 2 || skeleton[clean] {
		return verdict{}
	}
	if f := j.view.resolve(name); f.ok {
		return verdict{origin: j.origins(f), told: f.place != nil}
	}
	if j.onHost(clean) {
		return verdict{origin: j.leak(clean), told: true}
	}
	_, personal := below(clean, personalDirs)
	return verdict{origin: Origin{Belongs: Missing}, told: personal}
}

// artifacts judges a path in a store.
func (j *judge) artifacts(clean, name string) verdict {
	if under(clean, j.artifact) {
		return verdict{origin: Origin{Belongs: Output}, absent: !j.view.resolve(name).ok, told: true}
	}
	for _, d := range j.deps {
		origin := Origin{Belongs: Dependency, Dependency: d.Public}
		if under(clean, d.Public) {
			return verdict{origin: origin, absent: !j.view.resolve(name).ok, told: true}
		}
		if under(clean, d.Host) { // not where the jail shows it, but where it is
			return verdict{origin: origin, absent: !j.view.resolve(d.Public + strings.TrimPrefix(clean, d.Host)).ok, told: true}
		}
	}
	store, ok := below(clean, j.stores)
	if !ok || clean == store {
		return verdict{}
	}
	if artifactEnd([]byte(strings.TrimPrefix(clean[len(store):], "/"))) > 0 {
		return verdict{origin: Origin{Belongs: Leak}, absent: !j.onHost(clean), told: true}
	}
	return verdict{origin: j.outside(clean), told: strings.Count(clean, "/") > strings.Count(store, "/")+1}
}

// artifactEnd returns how much of rest, a path relative to a store, names an artifact or realization; 0 if it does not. It
// looks at no more than it must, as it is asked wherever a file names the store.
func artifactEnd(rest []byte) int {
	entry, named := bytes.CutPrefix(rest, []byte("store/"))
	if !named {
		var ok bool
		if entry, ok = bytes.CutPrefix(rest, []byte("realizations/")); !ok {
			return 0
		}
	}
	end := 0
	for end < min(len(entry), maxEntry) && isName(entry[end]) {
		end++
	}
	end = len(bytes.TrimRight(entry[:end], ".")) // of a sentence
	if named && (end < artifact.IDLength+2 || entry[artifact.IDLength] != '-') || !named && end != artifact.IDLength {
		return 0
	}
	if _, err := artifact.ParseRealizationID(string(entry[:artifact.IDLength])); err != nil { // a DerivationID has the same form
		return 0
	}
	return len(rest) - len(entry) + end
}

// kernelDirs hold no files that could leak; a jail has its own.
var kernelDirs = []string{"/dev", "/proc", "/sys"}

// personalDirs differ from host to host and from user to user, so a path there is worth a line even if nothing is there.
var personalDirs = []string{"/home", "/root", "/tmp", "/var/tmp"}

// skeleton are the directories that every host has (hier(7)); that one is named says nothing.
var skeleton = skeletonOf(
	"/etc/opt", "/usr/bin", "/usr/games", "/usr/include", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/libexec", "/usr/sbin",
	"/usr/share", "/usr/src", "/usr/share/doc", "/usr/share/info", "/usr/share/locale", "/usr/share/man", "/usr/local",
	"/usr/local/bin", "/usr/local/etc", "/usr/local/games", "/usr/local/include", "/usr/local/lib", "/usr/local/lib64",
	"/usr/local/libexec", "/usr/local/man", "/usr/local/sbin", "/usr/local/share", "/usr/local/src", "/var/cache", "/var/lib",
	"/var/local", "/var/lock", "/var/log", "/var/mail", "/var/opt", "/var/run", "/var/spool", "/var/tmp")

func skeletonOf(dirs ...string) map[string]bool {
	m := make(map[string]bool, len(dirs))
	for _, dir := range dirs {
		m[dir] = true
	}
	return m
}

// below returns the directory of the list that a clean path is in, or is.
func below(clean string, dirs []string) (string, bool) {
	for _, dir := range dirs {
		if under(clean, dir) {
			return dir, true
		}
	}
	return "", false
}
