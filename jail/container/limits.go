package container

import (
	"math"

	"github.com/opencontainers/cgroups"
	devices "github.com/opencontainers/cgroups/devices/config"
	"github.com/opencontainers/runc/libcontainer/configs"
	"golang.org/x/sys/unix"

	"hdjail/jail"
)

// limitPlan says what holds each limit of a jail.
type limitPlan struct {
	resources cgroups.Resources
	rlimits   []configs.Rlimit
	enforced  map[string]string // by limit, as in jail.Enforced
	missing   []string
}

const unlimited = math.MaxUint64

// planLimits decides what holds the limits: a cgroup of the jail's own if one can be made, else rlimits, which count for
// each process or user. hard returns the caller's hard limits; a lower one is kept and named.
func planLimits(l jail.Limits, group bool, hard func(resource int) uint64) limitPlan {
	p := limitPlan{enforced: map[string]string{}}
	for name, set := range map[string]bool{"wall": l.Wall > 0, "silence": l.Silence > 0, "log": l.Log > 0} {
		if set {
			p.enforced[name] = "runner"
		}
	}
	p.base(hard)
	if l.Output > 0 {
		p.rlimit(unix.RLIMIT_FSIZE, uint64(l.Output), hard)
		p.enforced["output"] = "rlimit for one file, counted at registration"
	}
	if group {
		p.group(l)
	} else {
		p.each(l, hard)
	}
	return p
}

// base are the limits that every jail has, whatever the caller's are.
func (p *limitPlan) base(hard func(int) uint64) {
	p.rlimits = append(p.rlimits, clamp(configs.Rlimit{Type: unix.RLIMIT_NOFILE, Soft: 1024, Hard: 524288}, hard),
		clamp(configs.Rlimit{Type: unix.RLIMIT_STACK, Soft: 8 << 20, Hard: unlimited}, hard))
	// A core limit of 0 still starts a host's crash handler when core_pattern is a pipe; 1 does not (core(5)).
	p.rlimit(unix.RLIMIT_CORE, 1, hard)
	p.rlimit(unix.RLIMIT_MEMLOCK, 8<<20, hard)
}

func (p *limitPlan) rlimit(resource int, value uint64, hard func(int) uint64) {
	p.rlimits = append(p.rlimits, clamp(configs.Rlimit{Type: resource, Soft: value, Hard: value}, hard))
}

func clamp(r configs.Rlimit, hard func(int) uint64) configs.Rlimit {
	r.Hard = min(r.Hard, hard(r.Type))
	r.Soft = min(r.Soft, r.Hard)
	return r
}

// jailDevices are the devices that a mount table may show (Documentation/admin-guide/devices.txt): null, zero, full, random,
// urandom, tty, ptmx and the terminals of devpts.
var jailDevices = [][2]int64{{1, 3}, {1, 5}, {1, 7}, {1, 8}, {1, 9}, {5, 0}, {5, 2}, {136, devices.Wildcard}}

// group puts the limits on all processes together. A group without device rules would refuse every device.
func (p *limitPlan) group(l jail.Limits) {
	for _, d := range jailDevices {
		p.resources.Devices = append(p.resources.Devices, &devices.Rule{Type: devices.CharDevice, Major: d[0], Minor: d[1],
			Permissions: "rw", Allow: true})
	}
	if l.Memory > 0 {
		p.resources.Memory = l.Memory
		p.enforced["memory"] = "cgroup"
	}
	if l.Pids > 0 {
		p.resources.PidsLimit = &l.Pids
		p.enforced["pids"] = "cgroup"
	}
	if l.CPU > 0 {
		p.resources.CpuPeriod, p.resources.CpuQuota = 100000, int64(l.CPU*100000)
		p.enforced["cpu"] = "cgroup"
	}
}

// each does what can be done without a group. RLIMIT_NPROC counts in each user namespace from Linux 5.14 on, and
// RLIMIT_DATA counts private memory from 4.7 on (getrlimit(2)).
func (p *limitPlan) each(l jail.Limits, hard func(int) uint64) {
	if l.Memory > 0 {
		p.rlimit(unix.RLIMIT_DATA, uint64(l.Memory), hard)
		p.enforced["memory"] = "rlimit, each process by itself"
		p.missing = append(p.missing, "memory limit over all processes: no cgroup can be made here")
	}
	if l.Pids > 0 {
		p.rlimit(unix.RLIMIT_NPROC, uint64(l.Pids), hard)
		p.enforced["pids"] = "rlimit"
	}
	if l.CPU > 0 {
		p.missing = append(p.missing, "cpu limit: no cgroup can be made here")
	}
}

// hardLimit is this process's hard limit of a resource. Root may not raise it either: it may lack CAP_SYS_RESOURCE.
func hardLimit(resource int) uint64 {
	var own unix.Rlimit
	if unix.Getrlimit(resource, &own) != nil {
		return unlimited
	}
	return own.Max
}
