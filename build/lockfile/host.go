package lockfile

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"hdjail/artifact"
	"hdjail/build/plan"
	"hdjail/hostpkgs"
)

// Recorder pins host packages and remembers what for. Safe for concurrent use.
type Recorder struct {
	plan.HostPackages
	mu    sync.Mutex
	known map[string]Closure
}

// Pin implements plan.HostPackages.
func (r *Recorder) Pin(ctx context.Context, names []string) ([]hostpkgs.Pinned, error) {
	pins, err := r.HostPackages.Pin(ctx, names)
	if err != nil {
		return nil, err
	}
	c := Closure{Requested: slices.Clone(names)}
	for _, p := range pins {
		digest, err := artifact.ParseTreeDigest(p.Digest)
		if err != nil {
			return nil, fmt.Errorf("lock package %q: %w", p.Name, err)
		}
		c.Packages = append(c.Packages, artifact.HostPackage{Name: p.Name, Architecture: p.Architecture, Version: p.Version, Digest: digest})
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.known == nil {
		r.known = map[string]Closure{}
	}
	r.known[key(names)] = c
	return pins, nil
}

// Closures returns what was pinned.
func (r *Recorder) Closures() []Closure {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Collect(maps.Values(r.known))
}

func key(names []string) string { return strings.Join(names, "\n") }

// Host returns the host packages as they were when the file was made: a list of names that is locked stands for the same
// closure, whatever is installed by now. Anything else is asked of the host as it is.
func (f *File) Host(now plan.HostPackages) plan.HostPackages {
	h := lockedHost{now, map[string][]hostpkgs.Pinned{}}
	for _, c := range f.HostPackages {
		pins := make([]hostpkgs.Pinned, len(c.Packages))
		for i, p := range c.Packages {
			pins[i] = hostpkgs.Pinned{Name: p.Name, Architecture: p.Architecture, Version: p.Version, Digest: p.Digest.String()}
		}
		h.closures[key(c.Requested)] = pins
	}
	return h
}

// lockedHost is read-only once made.
type lockedHost struct {
	plan.HostPackages
	closures map[string][]hostpkgs.Pinned
}

// Pin implements plan.HostPackages.
func (h lockedHost) Pin(ctx context.Context, names []string) ([]hostpkgs.Pinned, error) {
	if pins, locked := h.closures[key(names)]; locked {
		return pins, nil
	}
	return h.HostPackages.Pin(ctx, names)
}
