package manners

import (
	"testing"
	"testing/fstest"
)

// TestLook reads machines of every kind and compares what builds may take of them.
func TestLook(t *testing.T) {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	slurm := func(more fstest.MapFS) fstest.MapFS {
		root := fstest.MapFS{"etc/slurm/slurm.conf": file("ClusterName=c\n"), "proc/1/comm": file("systemd\n"), "proc/12/comm": file("sshd\n")}
		for name, f := range more {
			root[name] = f
		}
		return root
	}
	rows := map[string]struct {
		root     fstest.MapFS
		job      string
		affinity int
		want     Share
	}{
		"nothing to read": {fstest.MapFS{}, "", 8, Share{Processors: 8}},
		"no processors":   {fstest.MapFS{}, "", 0, Share{Processors: 1}},
		"version 2, a group above": {fstest.MapFS{"proc/self/cgroup": file("0::/a/b\n"), "sys/fs/cgroup/a/cpu.max": file("250000 100000\n"),
			"sys/fs/cgroup/a/b/cpu.max": file("max 100000\n")}, "", 8, Share{Processors: 2, Why: "the control group allows 2.5 processors"}},
		"version 1": {fstest.MapFS{"proc/self/cgroup": file("4:memory:/m\n1:cpu,cpuacct:/q\n"), "sys/fs/cgroup/cpu/q/cpu.cfs_quota_us": file("50000\n"),
			"sys/fs/cgroup/cpu/q/cpu.cfs_period_us": file("100000\n"), "sys/fs/cgroup/cpu/cpu.cfs_quota_us": file("-1\n"),
			"sys/fs/cgroup/cpu/cpu.cfs_period_us": file("100000\n")}, "", 8, Share{Processors: 1, Why: "the control group allows 0.5 processors"}},
		"hybrid, more than there are": {fstest.MapFS{"proc/self/cgroup": file("1:cpu:/\n0::/\n"), "sys/fs/cgroup/cpu/cpu.cfs_quota_us": file("1600000\n"),
			"sys/fs/cgroup/cpu/cpu.cfs_period_us": file("100000\n")}, "", 8, Share{Processors: 8}},
		"garbage":          {fstest.MapFS{"proc/self/cgroup": file("x\n0::/\n1:cpu:../..\n"), "sys/fs/cgroup/cpu.max": file("a b\n")}, "", 8, Share{Processors: 8}},
		"login node":       {slurm(nil), "", 64, Share{Processors: 4, Niced: true, Why: "this is a login node"}},
		"small login node": {slurm(nil), "", 2, Share{Processors: 2, Niced: true, Why: "this is a login node"}},
		"in a job":         {slurm(nil), "17", 64, Share{Processors: 64}},
		"compute node":     {slurm(fstest.MapFS{"proc/99/comm": file("slurmd\n")}), "", 64, Share{Processors: 64}},
	}
	for name, row := range rows {
		environment := func(key string) string {
			if key == "SLURM_JOB_ID" {
				return row.job
			}
			return ""
		}
		if got := Look(row.root, environment, row.affinity).Share(); got != row.want {
			t.Errorf("%s: %+v, want %+v", name, got, row.want)
		}
	}
}
