// Package manners decides how much of a machine builds may take when nobody has said: what its processors, control groups and
// batch system show comes in, numbers and a reason go out. Lowering the priority of this process is here too; limits of single
// builds are the jail's.
package manners

import (
	"fmt"
	"io/fs"
	"math"
	"path"
	"strconv"
	"strings"
)

// Machine is what decides.
type Machine struct {
	// Affinity is how many processors this process may run on (sched_getaffinity(2)).
	Affinity int
	// Quota is how many processors' worth of time the control groups above this process allow, 0 for no bound.
	Quota float64
	// Login tells that people share this machine to submit jobs from.
	Login bool
}

// Share is what builds take.
type Share struct {
	// Processors are for all builds together, at least 1.
	Processors int
	// Niced tells that builds stand back behind what people do.
	Niced bool
	// Why is for people: what bounds Processors; empty if nothing but the processors does.
	Why string
}

const loginProcessors = 4

// Share is the default: all processors, within the quota, and a few on a login node.
func (m Machine) Share() Share {
	s := Share{Processors: max(1, m.Affinity), Niced: m.Login}
	if quota := max(1, int(math.Floor(m.Quota))); m.Quota > 0 && quota < s.Processors {
		s.Processors, s.Why = quota, fmt.Sprintf("the control group allows %.3g processors", m.Quota)
	}
	if m.Login {
		s.Why = "this is a login node"
		s.Processors = min(s.Processors, loginProcessors)
	}
	return s
}

// Look reads the machine from its root directory. Environment is asked for SLURM_JOB_ID. What cannot be read bounds nothing.
func Look(root fs.FS, environment func(string) string, affinity int) Machine {
	return Machine{Affinity: affinity, Quota: quota(root), Login: login(root, environment)}
}

// login: Slurm is configured here, this is no job, and no daemon runs jobs here.
func login(root fs.FS, environment func(string) string) bool {
	if environment("SLURM_JOB_ID") != "" {
		return false
	}
	configured := false
	for _, name := range []string{"etc/slurm/slurm.conf", "etc/slurm-llnl/slurm.conf", "run/slurm/conf/slurm.conf"} {
		_, err := fs.Stat(root, name)
		configured = configured || err == nil
	}
	return configured && !runs(root, "slurmd")
}

// runs reports whether a process has the name (proc_pid_comm(5)).
func runs(root fs.FS, name string) bool {
	processes, err := fs.ReadDir(root, "proc")
	if err != nil {
		return false
	}
	for _, p := range processes {
		if _, err := strconv.Atoi(p.Name()); err != nil {
			continue
		}
		if comm, err := fs.ReadFile(root, path.Join("proc", p.Name(), "comm")); err == nil && strings.TrimSpace(string(comm)) == name {
			return true
		}
	}
	return false
}

// quota is the least of the bounds of this process's groups and those above them, of either version (cgroups(7)).
func quota(root fs.FS) (least float64) {
	text, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		field := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(field) != 3 {
			continue
		}
		mount, read := "sys/fs/cgroup", quota2
		if field[0] != "0" {
			if !strings.Contains(","+field[1]+",", ",cpu,") {
				continue
			}
			mount, read = "sys/fs/cgroup/cpu", quota1
		}
		for group := path.Clean("/" + field[2]); ; group = path.Dir(group) {
			if q := read(root, path.Join(mount, group)); q > 0 && (least == 0 || q < least) {
				least = q
			}
			if group == "/" {
				break
			}
		}
	}
	return least
}

// quota1 is that of a group of version 1, 0 for none (kernel: scheduler/sched-bwc.rst).
func quota1(root fs.FS, dir string) float64 {
	quota, period := number(root, dir+"/cpu.cfs_quota_us"), number(root, dir+"/cpu.cfs_period_us")
	if quota <= 0 || period <= 0 {
		return 0
	}
	return quota / period
}

// quota2 is that of a group of version 2, 0 for none: cpu.max holds the quota, or "max", and the period.
func quota2(root fs.FS, dir string) float64 {
	text, err := fs.ReadFile(root, dir+"/cpu.max")
	field := strings.Fields(string(text))
	if err != nil || len(field) != 2 {
		return 0
	}
	quota, err1 := strconv.ParseFloat(field[0], 64)
	period, err2 := strconv.ParseFloat(field[1], 64)
	if err1 != nil || err2 != nil || quota <= 0 || period <= 0 {
		return 0
	}
	return quota / period
}

func number(root fs.FS, name string) float64 {
	text, err := fs.ReadFile(root, name)
	if err != nil {
		return 0
	}
	n, err := strconv.ParseFloat(strings.TrimSpace(string(text)), 64)
	if err != nil {
		return 0
	}
	return n
}
