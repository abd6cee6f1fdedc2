package learn_test

import (
	"context"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"hdjail/build/learn"
	"hdjail/build/spec"
	"hdjail/hostpkgs"
	"hdjail/policies"
	"hdjail/policies/audit"
)

// host is a machine of names: what a path is, by "dir", "file" or "-> target", and which packages install it.
type host struct {
	entries map[string]string
	owners  map[string][]string
}

// Look implements learn.Host.
func (h host) Look(p string) learn.Entry {
	switch e := h.entries[p]; {
	case e == "file":
		return learn.Entry{Kind: learn.File}
	case e == "dir" || p == "/":
		return learn.Entry{Kind: learn.Directory}
	case strings.HasPrefix(e, "-> "):
		return learn.Entry{Kind: learn.Link, Target: e[3:]}
	}
	return learn.Entry{}
}

// List implements learn.Host.
func (h host) List(dir string) (names []string) {
	for p := range h.entries {
		if path.Dir(p) == dir {
			names = append(names, path.Base(p))
		}
	}
	slices.Sort(names)
	return names
}

// Owners implements learn.Host.
func (h host) Owners(_ context.Context, paths []string) (map[string][]string, error) {
	found := map[string][]string{}
	for _, p := range paths {
		for owned, names := range h.owners {
			if owned != p && !strings.HasPrefix(owned, p+"/") {
				continue
			}
			for _, name := range names {
				if !slices.Contains(found[p], name) {
					found[p] = append(found[p], name)
				}
			}
		}
		slices.Sort(found[p])
	}
	return found, nil
}

// installed are the packages of debian, where gcc brings cpp and libc6, and libc6-dev brings libc6.
func installed() []hostpkgs.Package {
	depends := map[string]string{"gcc": "cpp libc6", "cpp": "libc6", "libc6-dev": "libc6", "make": "libc6", "coreutils": "libc6", "dash": "libc6",
		"libc6": "libgcc", "libgcc": "libc6", "libc-bin": "", "tzdata": "", "mawk": "libc6", "python3": "libc6", "big": "gcc make", "shared": ""}
	var list []hostpkgs.Package
	for name, needs := range depends {
		p := hostpkgs.Package{Name: name, Architecture: "amd64", Version: "1", Native: true}
		for _, need := range strings.Fields(needs) {
			p.Depends = append(p.Depends, []hostpkgs.Dependency{{Name: need}})
		}
		list = append(list, p)
	}
	return append(list, hostpkgs.Package{Name: "libc6", Architecture: "i386", Version: "1"})
}

func debian() host {
	h := host{entries: map[string]string{"/bin": "-> usr/bin", "/lib": "-> usr/lib"}, owners: map[string][]string{}}
	for p, e := range map[string]string{
		"/usr/bin/dash": "file dash", "/usr/bin/sh": "-> dash dash", "/usr/bin/gcc": "-> gcc-12 gcc", "/usr/bin/gcc-12": "file cpp",
		"/usr/bin/make": "file make", "/usr/bin/rm": "file coreutils", "/usr/bin/cp": "file coreutils", "/usr/bin/ld": "file gcc",
		"/usr/lib/libc.so.6": "file libc6", "/usr/lib/libc.so": "-> libc.so.6 libc6-dev", "/usr/include/stdio.h": "file libc6-dev",
		"/usr/lib/libc.so.5": "-> libc.so.6", "/usr/lib/i386/libc.so.6": "file libc6:i386",
		"/usr/lib/locale/C.utf8/LC_CTYPE": "file libc-bin", "/usr/share/zoneinfo/UTC": "file tzdata",
		"/usr/bin/awk": "-> /etc/alternatives/awk", "/etc/alternatives/awk": "-> /usr/bin/mawk", "/usr/bin/mawk": "file mawk",
		"/usr/lib/python3/re.py": "file python3", "/usr/lib/python3/__pycache__/re.cpython-311.pyc": "file",
		"/usr/lib/python3/shared-1.dist-info/METADATA": "file shared",
		"/etc/passwd": "file", "/etc/ld.so.cache": "file", "/etc/hosts.conf": "file", "/etc/localtime": "-> /usr/share/zoneinfo/UTC",
		"/usr/share/shared/a": "file big", "/usr/share/shared/b": "file shared", "/usr/share/doc/x": "file make",
		"/usr/local/include": "dir", "/usr/local/bin/tool": "file",
		"/opt/cc/bin/cc": "file", "/opt/cc/bin/as": "file", "/opt/cc/lib/libcc.a": "file", "/opt/cc/lib/crt.o": "file", "/opt/cc/doc/manual": "file",
		"/opt/current": "-> cc", "/opt/one/a": "file", "/opt/one/b": "file", "/opt/one/c": "file",
		"/home/u/.ssh/id": "file", "/home/u/.gitconfig": "file", "/home/u/.pyenv/bin/python": "file", "/home/u/data/set": "file",
		"/home/u/proj/build.sh": "file", "/etc/shadow": "file", "/oldpwd": "dir", "/data/other": "dir",
	} {
		words := strings.Fields(e)
		kind := words[0]
		if kind == "->" {
			kind, words = "-> "+words[1], words[1:]
		}
		h.entries[p] = kind
		for dir := path.Dir(p); dir != "/"; dir = path.Dir(dir) {
			if h.entries[dir] == "" {
				h.entries[dir] = "dir"
			}
		}
		for _, owner := range words[1:] {
			if !strings.Contains(owner, ":") {
				owner += ":amd64"
			}
			h.owners[p] = append(h.owners[p], owner)
		}
	}
	return h
}

var operations = map[string]policies.Operation{"r": policies.OpRead, "p": policies.OpProbe, "x": policies.OpExec, "l": policies.OpList,
	"w": policies.OpWrite, "c": policies.OpCreate, "cd": policies.OpChdir, "k": policies.OpReadlink, "conn": policies.OpConnect}

// record is an audit with the accesses of a text, one a line: operation, path, and "absent", "hidden", "denied" or nothing, in
// the order of time.
func record(text string, command ...string) *audit.Audit {
	a := &audit.Audit{Header: audit.Header{Mode: "log", Complete: true, Observers: []audit.Observer{{Name: "test"}}, Command: command,
		Whitelist: audit.Whitelist{Writable: []string{"/home/u/proj"}}},
		Processes: []audit.Process{{ID: 1, PID: 7, Exe: "/usr/bin/dash", Argv: []string{"sh"}, Cwd: "/home/u/proj"}}}
	if strings.Contains(text, " ld") {
		a.Processes = append(a.Processes, audit.Process{ID: 2, PID: 9, Parent: 1, Exe: "/usr/bin/ld", Argv: []string{"ld"}})
	}
	for i, line := range strings.Split(strings.TrimSpace(text), "\n") {
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		access := audit.Access{Op: operations[words[0]], Path: words[1], Verdict: policies.Leaked, Count: 1, Process: 1, First: time.Duration(i + 1)}
		for _, word := range words[2:] {
			switch word {
			case "absent":
				access.Verdict, access.Errno = policies.Absent, 2
			case "hidden":
				access.Verdict, access.Errno = policies.Hidden, 2
			case "denied":
				access.Verdict, access.Errno = policies.Denied, 13
			case "ld":
				access.Process = 2
			}
		}
		a.Accesses = append(a.Accesses, access)
	}
	return a
}

func input(a *audit.Audit) learn.Input {
	return learn.Input{Audit: a, Installed: installed(), Host: debian(), Never: []string{"/home/u/.ssh", "/etc/shadow", "/run"}, Home: "/home/u",
		Stores: []string{"/var/lib/hdjail"}, Dir: "/home/u"}
}

// draft learns, and checks that what comes out is a spec.
func draft(t testing.TB, in learn.Input) *learn.Draft {
	t.Helper()
	d, err := learn.Learn(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	s, err := spec.Parse("learnt.yaml", d.YAML())
	if err != nil {
		t.Fatalf("%v\n%s", err, d.YAML())
	}
	if s.Script != d.Script || s.Name != d.Name {
		t.Fatalf("the spec says %q %q, the draft %q %q", s.Name, s.Script, d.Name, d.Script)
	}
	return d
}

func namesOf(list []learn.Entitled) string {
	var names []string
	for _, e := range list {
		names = append(names, e.Name)
	}
	return strings.Join(names, " ")
}
