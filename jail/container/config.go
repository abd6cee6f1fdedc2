package container

import (
	"cmp"
	"fmt"
	"path/filepath"

	"github.com/opencontainers/cgroups"
	"github.com/opencontainers/runc/libcontainer/configs"
	"golang.org/x/sys/unix"

	"hdjail/jail"
	"hdjail/mounts"
)

// Capability bits (capabilities(7)).
const (
	capChown       = 1 << 0
	capDACOverride = 1 << 1
	capFowner      = 1 << 3
	capSetgid      = 1 << 6
	capSetuid      = 1 << 7
)

// Paths of /proc that show the host or reach it. Masked files read as empty; read-only ones stay readable.
var (
	maskedPaths = []string{"/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
		"/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi"}
	readonlyPaths = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
)

// containerConfig translates a jail.Config. It opens nothing.
func containerConfig(c jail.Config, root root, ids identity, limits limitPlan) *configs.Config {
	capabilities := []string{"CAP_SETFCAP"} // maps the outer id 0 into the inner namespace since Linux 5.12
	if ids.keep != 0 {
		capabilities = append(capabilities, "CAP_SETUID", "CAP_SETGID", "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER")
	}
	oom := 500
	config := &configs.Config{
		Rootfs:            root.path,
		Readonlyfs:        true,
		RootPropagation:   unix.MS_PRIVATE | unix.MS_REC,
		ParentDeathSignal: int(unix.SIGKILL),
		Hostname:          cmp.Or(c.Vary.Hostname, jail.DefaultHostname),
		Domainname:        "(none)",
		NoNewPrivileges:   true,
		OomScoreAdj:       &oom,
		MaskPaths:         maskedPaths,
		ReadonlyPaths:     readonlyPaths,
		Sysctl:            map[string]string{"user.max_user_namespaces": "1"},
		Networks:          []*configs.Network{{Type: "loopback"}},
		Capabilities:      &configs.Capabilities{Bounding: capabilities, Effective: capabilities, Permitted: capabilities},
		UIDMappings:       []configs.IDMap{{ContainerID: 0, HostID: int64(ids.uid), Size: ids.size}},
		GIDMappings:       []configs.IDMap{{ContainerID: 0, HostID: int64(ids.gid), Size: ids.size}},
		Rlimits:           limits.rlimits,
		Cgroups:           &cgroups.Cgroup{Name: groupName(c.Scratch.Dir), Resources: &limits.resources},
	}
	for _, kind := range []configs.NamespaceType{configs.NEWUSER, configs.NEWNS, configs.NEWPID, configs.NEWIPC, configs.NEWUTS,
		configs.NEWNET, configs.NEWCGROUP} {
		config.Namespaces = append(config.Namespaces, configs.Namespace{Type: kind})
	}
	// libcontainer leaves /dev alone only if it is itself a bind mount.
	config.Mounts = append(config.Mounts, &configs.Mount{Device: "bind", Source: filepath.Join(root.path, "dev"), Destination: "/dev",
		Flags: unix.MS_BIND | unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NOEXEC})
	for _, e := range c.Mounts.Entries {
		if e.Mounted() && e.Target != "/dev" {
			config.Mounts = append(config.Mounts, mountOf(e, root.over))
		}
	}
	return config
}

func mountOf(e mounts.Entry, over string) *configs.Mount {
	m := &configs.Mount{Source: e.Source, Destination: e.Target, Device: string(e.Kind), Flags: mountFlags(e)}
	switch e.Kind {
	case mounts.Proc:
		m.Source = "proc"
	case mounts.Tmpfs:
		m.Source = "tmpfs"
		m.Data = "mode=1777"
		if e.Size > 0 {
			m.Data += fmt.Sprintf(",size=%d", e.Size)
		}
	case mounts.Devpts:
		m.Source = "devpts"
		m.Data = "newinstance,ptmxmode=0666,mode=0620"
	case mounts.Skeleton:
		m.Device, m.Source = "bind", filepath.Join(over, overName(e.Target))
		m.Flags |= unix.MS_BIND
	case mounts.Bind:
		m.Flags |= unix.MS_BIND
		if e.Recursive {
			m.Flags = unix.MS_BIND | unix.MS_REC
			m.RecAttr = &unix.MountAttr{Attr_set: attributes(e)}
		}
	}
	return m
}

func mountFlags(e mounts.Entry) int {
	flags := unix.MS_NOSUID
	if !e.Device {
		flags |= unix.MS_NODEV
	}
	if e.NoExec {
		flags |= unix.MS_NOEXEC
	}
	if !e.Writable && (e.Kind == mounts.Bind || e.Kind == mounts.Skeleton) {
		flags |= unix.MS_RDONLY
	}
	return flags
}

// attributes are the flags of a bind mount for mount_setattr(2).
func attributes(e mounts.Entry) (set uint64) {
	flags := mountFlags(e)
	for flag, attribute := range map[int]uint64{unix.MS_NOSUID: unix.MOUNT_ATTR_NOSUID, unix.MS_NODEV: unix.MOUNT_ATTR_NODEV,
		unix.MS_NOEXEC: unix.MOUNT_ATTR_NOEXEC, unix.MS_RDONLY: unix.MOUNT_ATTR_RDONLY} {
		if flags&flag != 0 {
			set |= attribute
		}
	}
	return set
}
