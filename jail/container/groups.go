package container

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/opencontainers/cgroups"
)

// groupPrefix begins the names of jails' cgroups; the name of the scratch follows.
const groupPrefix = "hdjail-"

// SweepGroups removes the cgroups of jails whose runner was killed, among the children of this process's own: those whose
// scratch, by its name, is abandoned. No process is in them any more, since a jail dies with its runner.
func SweepGroups(abandoned func(scratch string) bool) error {
	controllers := []string{"memory", "cpu"} // those that groupPaths uses
	if cgroups.IsCgroup2UnifiedMode() {
		controllers = []string{""}
	}
	var failed []error
	for _, controller := range controllers {
		own, err := cgroups.GetOwnCgroupPath(controller)
		if err != nil {
			continue // no such hierarchy here
		}
		entries, err := os.ReadDir(own)
		if err != nil {
			failed = append(failed, err)
		}
		for _, e := range entries {
			scratch, ours := strings.CutPrefix(e.Name(), groupPrefix)
			if !ours || !e.IsDir() || !abandoned(scratch) {
				continue
			}
			if err := os.Remove(filepath.Join(own, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
				failed = append(failed, err)
			}
		}
	}
	return errors.Join(failed...)
}
