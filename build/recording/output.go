package recording

import (
	"context"
	"encoding/json"
	"errors"
	"os"

	"hdjail/artifact/leaks"
	"hdjail/artifact/tree"
	"hdjail/jail"
	"hdjail/policies"
)

// linkerCache is where the host's dynamic linker remembers its libraries (ld.so(8)).
const linkerCache = "/etc/ld.so.cache"

// ScanOutput looks for what the output of a build still needs of its surroundings: libraries, and absolute paths. The
// output, at dir, does not change any more; artifact is its public path.
func (r *Record) ScanOutput(ctx context.Context, dir, artifact string) (leaks.Summary, error) {
	if r == nil {
		return leaks.Summary{}, nil
	}
	root, err := tree.Open(dir, false)
	if err != nil {
		return leaks.Summary{}, err
	}
	defer root.Close()
	var failed error
	report, err := leaks.Scan(ctx, root, r.scanOptions(artifact, &failed))
	if err = errors.Join(err, failed); err != nil {
		return leaks.Summary{}, err
	}
	r.Output, err = json.Marshal(report)
	return report.Summary, err
}

// scanOptions are what a scan is judged by. What goes wrong in its look-ups is put into failed.
func (r *Record) scanOptions(artifact string, failed *error) leaks.Options {
	v := r.subject.View
	o := leaks.Options{Artifact: artifact, Stores: v.Stores, Root: v.Tree.Path, BuildDirs: []string{jail.BuildDir}}
	for _, d := range v.Dependencies {
		for i, out := range d.Outs {
			o.Dependencies = append(o.Dependencies, leaks.Place{Public: d.Place(i), Host: out})
		}
	}
	for _, p := range v.Paths {
		place := leaks.Place{Public: p.Path, Host: p.Path}
		if p.Link != "" {
			place.Host = p.Link
		}
		o.Paths = append(o.Paths, place)
	}
	if r.whitelist != nil {
		o.Whitelisted = r.whitelist.Has
	}
	o.Owner = func(path string) (name, version string, ok bool) {
		owners, err := r.owners()
		if *failed = err; owners == nil {
			return "", "", false
		}
		if list := owners(path); len(list) > 0 {
			return list[0].Package, list[0].Version, true
		}
		return "", "", false
	}
	o.OnHost = func(path string) bool {
		answer, _ := r.recorder.Host.Ask(path, true)
		return answer == policies.HostHas
	}
	o.HostCache = func() []byte {
		cache, _ := os.ReadFile(linkerCache) // without one a library is found by its directory, or is missing
		return cache
	}
	return o
}
