package container

import (
	"math"

	"github.com/opencontainers/cgroups"
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
// each process. Processes are counted by RLIMIT_NPROC: as root for the leased uid, which no other jail has, and else for
// the jail's user namespace, from Linux 5.14 on. hard returns the caller's hard limits; a lower one is kept.
func planLimits(l jail.Limits, group bool, hard func(resource int) uint64) limitPlan {
	p := limitPlan{enforced: map[string]string{}}
	for name, set := range map[string]bool{"wall": l.Wall > 0, "silence": l.Silence > 0, "log": l.Log > 0, "files": l.Files > 0} {
		if set {
			p.enforced[name] = "runner"
		}
	}
	p.base(hard)
	if l.Output > 0 {
		p.rlimit(unix.RLIMIT_FSIZE, uint64(l.Output), hard)
		p.enforced["output"] = "rlimit for one file, the runner for all"
	}
	if l.Pids > 0 {
		p.rlimit(unix.RLIMIT_NPROC, uint64(l.Pids), hard)
		p.enforced["pids"] = "rlimit"
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

// group puts limits on all processes together.
func (p *limitPlan) group(l jail.Limits) {
	if l.Memory > 0 {
		p.resources.Memory = l.Memory
		p.enforced["memory"] = "cgroup"
	}
	if l.CPU > 0 {
		p.resources.CpuPeriod, p.resources.CpuQuota = 100000, int64(l.CPU*100000)
		p.enforced["cpu"] = "cgroup"
	}
}

// each does what can be done without a group. RLIMIT_DATA counts private memory from Linux 4.7 on (getrlimit(2)).
func (p *limitPlan) each(l jail.Limits, hard func(int) uint64) {
	if l.Memory > 0 {
		p.rlimit(unix.RLIMIT_DATA, uint64(l.Memory), hard)
		p.enforced["memory"] = "rlimit, each process by itself"
		p.missing = append(p.missing, "memory limit over all processes: no cgroup can be made here")
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
