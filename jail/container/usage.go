package container

import (
	"strings"

	cgroups3 "github.com/containerd/cgroups/v3"
	"github.com/containerd/cgroups/v3/cgroup1"
	"github.com/containerd/cgroups/v3/cgroup2"
	"github.com/opencontainers/runc/libcontainer"
)

// memoryUse is what a group says of the memory of all processes of the jail together.
type memoryUse struct {
	peak  int64  // bytes; 0 when nobody counted
	kills uint64 // processes that were killed at the limit
}

// groupMemory only reads: libcontainer owns the group.
func groupMemory(c *libcontainer.Container) memoryUse {
	state, err := c.State()
	if err != nil {
		return memoryUse{}
	}
	if cgroups3.Mode() == cgroups3.Unified {
		return memory2(state.CgroupPaths[""])
	}
	return memory1(state.CgroupPaths["memory"])
}

const cgroupRoot = "/sys/fs/cgroup"

func memory2(path string) memoryUse {
	group, err := cgroup2.Load(strings.TrimPrefix(path, cgroupRoot))
	if path == "" || err != nil {
		return memoryUse{}
	}
	stat, err := group.Stat()
	if err != nil {
		return memoryUse{}
	}
	return memoryUse{peak: int64(stat.GetMemory().GetMaxUsage()), kills: stat.GetMemoryEvents().GetOomKill()}
}

func memory1(path string) memoryUse {
	memory := func() ([]cgroup1.Subsystem, error) { return []cgroup1.Subsystem{cgroup1.NewMemory(cgroupRoot)}, nil }
	group, err := cgroup1.Load(cgroup1.StaticPath(strings.TrimPrefix(path, cgroupRoot+"/memory")), cgroup1.WithHierarchy(memory))
	if path == "" || err != nil {
		return memoryUse{}
	}
	stat, err := group.Stat(cgroup1.IgnoreNotExist)
	if err != nil {
		return memoryUse{}
	}
	return memoryUse{peak: int64(stat.GetMemory().GetUsage().GetMax()), kills: stat.GetMemoryOomControl().GetOomKill()}
}
