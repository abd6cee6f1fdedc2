package container

import (
	"strings"

	cgroups3 "github.com/containerd/cgroups/v3"
	"github.com/containerd/cgroups/v3/cgroup1"
	"github.com/containerd/cgroups/v3/cgroup2"
	"github.com/opencontainers/runc/libcontainer"
)

// cgroupPeak reads the most memory that all processes of the jail used at once, in bytes; 0 when nobody counted. It only
// reads: libcontainer owns the group.
func cgroupPeak(c *libcontainer.Container) int64 {
	state, err := c.State()
	if err != nil {
		return 0
	}
	if cgroups3.Mode() == cgroups3.Unified {
		return peak2(state.CgroupPaths[""])
	}
	return peak1(state.CgroupPaths["memory"])
}

const cgroupRoot = "/sys/fs/cgroup"

func peak2(path string) int64 {
	group, err := cgroup2.Load(strings.TrimPrefix(path, cgroupRoot))
	if path == "" || err != nil {
		return 0
	}
	stat, err := group.Stat()
	if err != nil {
		return 0
	}
	return int64(stat.GetMemory().GetMaxUsage())
}

func peak1(path string) int64 {
	memory := func() ([]cgroup1.Subsystem, error) { return []cgroup1.Subsystem{cgroup1.NewMemory(cgroupRoot)}, nil }
	group, err := cgroup1.Load(cgroup1.StaticPath(strings.TrimPrefix(path, cgroupRoot+"/memory")), cgroup1.WithHierarchy(memory))
	if path == "" || err != nil {
		return 0
	}
	stat, err := group.Stat(cgroup1.IgnoreNotExist)
	if err != nil {
		return 0
	}
	return int64(stat.GetMemory().GetUsage().GetMax())
}
