package main

import (
	"context"

	"hdjail/build/usage"
	"hdjail/hostpkgs"
)

// changedPackages implements usage.Changed by what is installed: versions.
func (a *app) changedPackages(ctx context.Context, pins []usage.Pin) (map[usage.Pin]usage.Change, error) {
	database, err := openDatabase()
	if err != nil {
		return nil, err
	}
	packages, err := database.Packages(ctx)
	if err != nil {
		return nil, err
	}
	installed := make(map[[2]string]string, len(packages))
	for _, p := range packages {
		installed[[2]string{p.Name, p.Architecture}] = p.Version
	}
	changed := map[usage.Pin]usage.Change{}
	for _, pin := range pins {
		version, found := installed[[2]string{pin.Name, pin.Architecture}]
		switch {
		case pin.Name == hostpkgs.HostLinks:
		case !found:
			changed[pin] = usage.Change{Kind: "removed"}
		case version != pin.Version:
			changed[pin] = usage.Change{Kind: "version", Version: version}
		}
	}
	return changed, nil
}
