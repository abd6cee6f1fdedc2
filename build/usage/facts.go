package usage

import (
	"path"
	"slices"
	"strings"
	"time"

	"hdjail/artifact"
	"hdjail/build/learn"
	"hdjail/hostpkgs"
	"hdjail/policies"
	"hdjail/policies/audit"
)

// Artifact is a realization in an answer.
type Artifact struct {
	Realization artifact.RealizationID `json:"realization"`
	Derivation  artifact.DerivationID  `json:"derivation"`
	Name        string                 `json:"name"`
	Version     string                 `json:"version,omitempty"`
	Built       time.Time              `json:"built"`
	// Recorded tells that there is an audit; without one only its pins are known. Complete is that of the audit.
	Recorded bool `json:"recorded"`
	Complete bool `json:"complete"`
}

// Facts are what the index keeps of a realization.
type Facts struct {
	Artifact
	// Paths are those that it used: as typed, where they led, and the links on the way.
	Paths []string
	// Packages are those that own them, as "name" or "name:architecture".
	Packages []string
	// Pins are the host packages that it was built with.
	Pins []hostpkgs.Pin
	// Unused are the entries of its whitelist that it never used, by the dependencies of packages as they were when it was indexed.
	Unused []learn.Unused
}

// Describe returns the facts of a realization of d. The audit may be nil; then nothing is known of what was used.
func Describe(r artifact.Realization, d *artifact.Derivation, a *audit.Audit, installed *hostpkgs.Graph) Facts {
	f := Facts{Artifact: Artifact{Realization: r.ID, Derivation: r.Derivation, Name: d.Name, Version: d.Version}}
	if len(r.Records) > 0 {
		f.Built = r.Records[0].End.UTC().Truncate(time.Second)
	}
	for _, p := range d.HostPackages {
		f.Pins = append(f.Pins, hostpkgs.Pin{Name: p.Name, Architecture: p.Architecture, Version: p.Version, Digest: p.Digest.String()})
	}
	if a == nil || len(a.Header.Observers) == 0 && len(a.Accesses) == 0 {
		return f
	}
	f.Recorded, f.Complete = true, a.Header.Complete
	paths, packages := map[string]bool{}, map[string]bool{}
	own := path.Join(d.Prefix, "store", d.StoreName())
	for _, access := range a.Accesses {
		if access.Verdict == policies.Absent || access.Verdict == policies.Unknown || access.Op.Changes() || access.Path == "" {
			continue
		}
		for _, p := range slices.Concat([]string{access.Path, access.Resolved}, access.Via) {
			if p != "" && !strings.Contains(p, "/..") && !private(p) && !below(own, p) {
				paths[path.Clean(p)] = true
			}
		}
		for _, o := range learn.Readers(access) {
			packages[learn.OwnerName(o)] = true
		}
	}
	f.Paths, f.Packages = keys(paths), keys(packages)
	f.Unused = learn.Find(a, installed)
	return f
}

func keys(set map[string]bool) []string {
	list := make([]string, 0, len(set))
	for key := range set {
		list = append(list, key)
	}
	slices.Sort(list)
	return list
}

// private are areas of a jail's own, of which no two jails have the same.
func private(p string) bool {
	return slices.ContainsFunc([]string{"/build", "/.hdjail", "/tmp", "/var/tmp", "/proc", "/dev", "/sys"}, func(dir string) bool { return below(dir, p) })
}

func below(dir, p string) bool { return p == dir || strings.HasPrefix(p, dir+"/") }
