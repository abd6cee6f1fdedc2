package learn

import (
	"path"
	"slices"
	"strings"

	"hdjail/hostpkgs"
	"hdjail/policies"
	"hdjail/policies/audit"
)

// Unused is an entry of a whitelist that a run did not need. Kind is "package", "path" or "dependency".
type Unused struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
	// With are the further packages that only this one brought in.
	With []string `json:"with,omitempty"`
}

// Find returns the entries of the run's own whitelist that it never used: packages of which, and of what only they bring in, no
// file was accessed, and paths and dependencies below which nothing was. It is nil for a run without a whitelist and for one
// that was not recorded. A package that is not installed any more counts by itself.
func Find(a *audit.Audit, installed *hostpkgs.Graph) []Unused {
	if len(a.Header.Observers) == 0 && len(a.Accesses) == 0 {
		return nil
	}
	w := a.Header.Whitelist
	used := accessed(a)
	var list []Unused
	for _, name := range w.Requested {
		rest := slices.DeleteFunc(slices.Clone(w.Requested), func(n string) bool { return n == name })
		only := closure(installed, []string{name})
		for member := range closure(installed, rest) {
			delete(only, member)
		}
		if len(only) == 0 { // it comes along anyway; whether it is listed changes nothing
			continue
		}
		var with []string
		touched := false
		for member := range only {
			touched = touched || used[member]
			if bare, _, _ := strings.Cut(name, ":"); member != bare {
				with = append(with, member)
			}
		}
		if !touched {
			slices.Sort(with)
			list = append(list, Unused{"package", name, with})
		}
	}
	list = append(list, untouched(a, "path", w.Paths)...)
	return append(list, untouched(a, "dependency", w.Dependencies)...)
}

func closure(g *hostpkgs.Graph, names []string) map[string]bool {
	set := map[string]bool{}
	for _, name := range names {
		packages, _, err := g.Closure([]string{name})
		if err != nil {
			set[name] = true
		}
		for _, p := range packages {
			set[p.Name] = true
		}
	}
	return set
}

// accessed are the names of the packages of which a file was there for the run.
func accessed(a *audit.Audit) map[string]bool {
	used := map[string]bool{}
	for _, access := range a.Accesses {
		for _, owner := range Readers(access) {
			name, _, _ := strings.Cut(owner.Package, ":")
			used[name] = true
		}
	}
	return used
}

// Readers are the packages that an access has used. A directory is many packages', and looking at it uses none.
func Readers(a audit.Access) []audit.Owner {
	switch {
	case !seen(a) || a.Op == policies.OpList || a.Op == policies.OpChdir || len(a.Owners) > 3:
		return nil
	}
	return a.Owners
}

// OwnerName is the name of a package as "name:architecture", or "name" where the audit has no architecture.
func OwnerName(o audit.Owner) string {
	if o.Architecture == "" || strings.Contains(o.Package, ":") {
		return o.Package
	}
	return o.Package + ":" + o.Architecture
}

// seen reports whether something was at the path of an access, for the run or behind the fence.
func seen(a audit.Access) bool {
	return a.Verdict == policies.Allowed || a.Verdict == policies.Leaked || a.Verdict == policies.Hidden
}

func untouched(a *audit.Audit, kind string, paths []string) (list []Unused) {
	for _, p := range paths {
		used := slices.ContainsFunc(a.Accesses, func(access audit.Access) bool {
			return seen(access) && (below(p, path.Clean(access.Path)) || access.Resolved != "" && below(p, access.Resolved))
		})
		if !used {
			list = append(list, Unused{Kind: kind, Name: p})
		}
	}
	return list
}
