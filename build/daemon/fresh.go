package daemon

import (
	"context"
	"sync"

	"hdjail/build/plan"
	"hdjail/hostpkgs"
)

// Fresh is the host's packages as they are at each request, where a plan.HostPackages stands for one moment: an upgrade is
// seen, and nothing that callers ask for stays in memory. Pins are taken one after the other.
type Fresh struct {
	// Open looks at the host anew.
	Open func() (plan.HostPackages, error)

	mu sync.Mutex
}

// Pin implements plan.HostPackages.
func (f *Fresh) Pin(ctx context.Context, names []string) ([]hostpkgs.Pinned, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	host, err := f.Open()
	if err != nil {
		return nil, err
	}
	return host.Pin(ctx, names)
}

// Owner implements plan.HostPackages.
func (f *Fresh) Owner(ctx context.Context, path string) (string, bool, error) {
	host, err := f.Open()
	if err != nil {
		return "", false, err
	}
	return host.Owner(ctx, path)
}
