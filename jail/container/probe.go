package container

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"hdjail/jail"
)

// explainStart turns libcontainer's refusal into what the user can act on: what a program of ours has reported, or, if this
// host makes no user namespace, that, whatever step it surfaced in.
func (r *Runner) explainStart(p *process, err error) error {
	if reported := p.reportedError(); reported != nil {
		return reported
	}
	if missing := ProbeNamespaces(); missing != nil {
		return missing
	}
	return &jail.SetupError{Phase: "start", Err: err}
}

// namespaces are what a jail is made of.
var namespaces = []struct {
	flag uintptr
	name string
}{
	{unix.CLONE_NEWUSER, "user namespaces"},
	{unix.CLONE_NEWUSER | unix.CLONE_NEWNS, "mount namespaces"},
	{unix.CLONE_NEWUSER | unix.CLONE_NEWPID, "pid namespaces"},
	{unix.CLONE_NEWUSER | unix.CLONE_NEWNET, "network namespaces"},
	{unix.CLONE_NEWUSER | unix.CLONE_NEWIPC, "ipc namespaces"},
	{unix.CLONE_NEWUSER | unix.CLONE_NEWUTS, "uts namespaces"},
	{unix.CLONE_NEWUSER | unix.CLONE_NEWCGROUP, "cgroup namespaces"},
}

// ProbeNamespaces starts a throw-away child in each kind of namespace that a jail needs. It returns nil, or a
// *jail.Unsupported for the first one that this host refuses, with the setting that refuses it and its fix.
func ProbeNamespaces() error {
	for _, n := range namespaces {
		if err := tryNamespace(n.flag); err != nil {
			fix := namespaceFix(n.name, err)
			if n.flag&unix.CLONE_NEWNET != 0 {
				fix += "; or build without: --allow-degraded=netns"
			}
			return &jail.Unsupported{Feature: n.name, Fix: fix, Err: err}
		}
	}
	return nil
}

// HasNetworkNamespaces reports whether this host makes network namespaces. Where it makes no user namespaces that is another
// matter, and the answer is yes.
func HasNetworkNamespaces() bool {
	return tryNamespace(unix.CLONE_NEWUSER|unix.CLONE_NEWNET) == nil || tryNamespace(unix.CLONE_NEWUSER) != nil
}

// tryNamespace runs this program, which ends at once, in new namespaces with one mapped id.
func tryNamespace(flags uintptr) error {
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{probeName}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  flags,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	return cmd.Run()
}

// probeName is argument 0 of a child that only has to exist; jail/reexec ends it before Go starts.
const probeName = "hdjail-probe"

// namespaceFix says what to change. The same errno has several causes, so the settings are read.
func namespaceFix(name string, err error) string {
	short := strings.TrimSuffix(name, " namespaces")
	if short == "network" {
		short = "net"
	} else if short == "mount" {
		short = "mnt"
	}
	for _, s := range []struct{ file, bad, fix string }{
		{"/proc/sys/user/max_user_namespaces", "0", "an administrator runs: sysctl -w user.max_user_namespaces=15000 (and puts it in /etc/sysctl.d)"},
		{"/proc/sys/user/max_" + short + "_namespaces", "0", "an administrator runs: sysctl -w user.max_" + short + "_namespaces=15000 (and puts it in /etc/sysctl.d)"},
		{"/proc/sys/kernel/unprivileged_userns_clone", "0", "an administrator runs: sysctl -w kernel.unprivileged_userns_clone=1 (and puts it in /etc/sysctl.d)"},
		{"/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1", "an administrator writes an AppArmor profile for hdjail with the rule 'userns,', or runs: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"},
	} {
		if value, e := os.ReadFile(s.file); e == nil && strings.TrimSpace(string(value)) == s.bad {
			return s.fix
		}
	}
	switch {
	case errors.Is(err, unix.ENOSPC):
		return "the limit of user." + "max_" + short + "_namespaces is reached: try again when other jails have ended, or raise it"
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return "a container runtime or security module around hdjail refuses it: allow unshare(2) and clone(2) with namespace flags there"
	}
	return "use a kernel that is built with it (CONFIG_" + strings.ToUpper(short) + "_NS)"
}
