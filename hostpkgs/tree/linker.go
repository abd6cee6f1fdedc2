package tree

import (
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"hdjail/hostpkgs/ldcache"
	"hdjail/hostpkgs/rootpath"
)

// linker collects the libraries of a tree as ldconfig(8) does.
type linker struct {
	plan     Plan
	names    *rootpath.Resolver
	children map[string][]string // names of possible libraries by real folder, sorted
	seen     map[string]bool     // real folders
	found    []ldcache.Library
}

// AddLinkerCache adds /etc/ld.so.cache, and the links from sonames that ldconfig would have made.
func (p Plan) AddLinkerCache() error {
	l := &linker{plan: p, names: p.resolver(), children: map[string][]string{}, seen: map[string]bool{}}
	for _, name := range slices.Sorted(maps.Keys(p)) {
		base := path.Base(name)
		if !p[name].dir && (strings.HasPrefix(base, "lib") || strings.HasPrefix(base, "ld")) && strings.Contains(base, ".so") {
			l.children[path.Dir(name)] = append(l.children[path.Dir(name)], base)
		}
	}
	for _, dir := range append(l.folders("/etc/ld.so.conf", 0), l.builtin()...) {
		if err := l.scan(dir); err != nil {
			return err
		}
	}
	return p.put("/etc/ld.so.cache", node{data: ldcache.Encode(l.found)})
}

// folders returns the folders that a configuration file names.
func (l *linker) folders(conf string, depth int) []string {
	var dirs []string
	for _, line := range l.plan.lines(l.names.Follow(conf).Path) {
		words := strings.Fields(line)
		switch {
		case words[0] == "include" && depth < 4:
			for _, pattern := range words[1:] {
				dirs = append(dirs, l.include(conf, pattern, depth)...)
			}
		case path.IsAbs(words[0]):
			dir, _, _ := strings.Cut(words[0], "=")
			dirs = append(dirs, path.Clean(dir))
		}
	}
	return dirs
}

// libraryDir matches the folders that a linker may have built in: /lib64, /usr/lib, /lib/x86_64-linux-gnu.
var libraryDir = regexp.MustCompile(`^(?:/usr)?(/lib[^/]*(?:/[^/]+)?)$`)

// builtin returns the folders that the linker searches unasked. Which they are is compiled into it: those of its C library
// (glibc's slibdir and libdir), and what every linker knows.
func (l *linker) builtin() []string {
	var dirs []string
	for _, real := range slices.Sorted(maps.Keys(l.children)) {
		if m := libraryDir.FindStringSubmatch(real); m != nil && slices.Contains(l.children[real], "libc.so.6") {
			dirs = append(dirs, m[1], "/usr"+m[1])
		}
	}
	return append(dirs, "/lib", "/usr/lib")
}

func (l *linker) include(conf, pattern string, depth int) []string {
	if !path.IsAbs(pattern) {
		pattern = path.Join(path.Dir(conf), pattern)
	}
	var dirs []string
	for _, name := range slices.Sorted(maps.Keys(l.plan)) {
		if ok, err := path.Match(pattern, name); ok && err == nil {
			dirs = append(dirs, l.folders(name, depth+1)...)
		}
	}
	return dirs
}

// scan adds the libraries in a folder, each soname once.
func (l *linker) scan(dir string) error {
	real := l.names.Follow(dir).Path
	if l.seen[real] {
		return nil
	}
	l.seen[real] = true
	sonames := map[ldcache.Library]bool{}
	for _, base := range slices.Backward(l.children[real]) { // the later version first
		file, err := l.plan.open(l.names.Follow(path.Join(real, base)).Path)
		if err != nil {
			continue // a link to what is not in the tree
		}
		soname, kind, ok := ldcache.Read(file, base)
		file.Close()
		if l.plan[path.Join(real, base)].target != "" && strings.HasSuffix(base, ".so") && strings.HasPrefix(soname, base) {
			soname = base // a link for ld(1) is listed too, so that dlopen(3) finds it
		}
		lib := ldcache.Library{Dir: dir, Soname: soname, Kind: kind}
		if !ok || sonames[lib] || strings.ContainsAny(soname, "/\x00") {
			continue
		}
		sonames[lib] = true
		l.found = append(l.found, lib)
		name := path.Join(real, soname)
		if _, ok := l.plan[name]; !ok {
			if err := l.plan.put(name, node{target: base}); err != nil {
				return fmt.Errorf("link library: %w", err)
			}
		}
	}
	return nil
}
