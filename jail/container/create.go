package container

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/opencontainers/cgroups"
	"github.com/opencontainers/runc/libcontainer"
	"github.com/opencontainers/runc/libcontainer/configs"
)

// createContainer makes a container below dir. On cgroup v2 it is libcontainer's own way. On v1 that would join a group in
// each of some ten hierarchies, and each costs an RCU grace period, together more than the rest of a jail; so the container
// is loaded from a state that names just the groups that hold a limit, often none.
func createContainer(dir string, config *configs.Config) (*libcontainer.Container, error) {
	id := randomName()
	if cgroups.IsCgroup2UnifiedMode() {
		return libcontainer.Create(dir, id, config)
	}
	paths, err := groupPaths(config.Cgroups)
	if err != nil {
		return nil, err
	}
	state, err := json.Marshal(map[string]any{"id": id, "config": config, "cgroup_paths": paths})
	if err != nil {
		return nil, fmt.Errorf("encode container: %w", err)
	}
	own := filepath.Join(dir, id)
	if err := os.MkdirAll(own, 0o711); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(own, "state.json"), state, 0o600); err != nil {
		return nil, err
	}
	return libcontainer.Load(dir, id)
}

// groupPaths are the v1 groups that the limits need, children of the caller's own.
func groupPaths(c *cgroups.Cgroup) (map[string]string, error) {
	paths := map[string]string{}
	for controller, needed := range map[string]bool{"memory": c.Resources.Memory > 0, "cpu": c.Resources.CpuQuota > 0} {
		if !needed {
			continue
		}
		own, err := cgroups.GetOwnCgroupPath(controller)
		if err != nil {
			return nil, fmt.Errorf("find the %s group: %w", controller, err)
		}
		paths[controller] = filepath.Join(own, c.Name)
	}
	return paths, nil
}
