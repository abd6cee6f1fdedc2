package policies

// SyscallGroup are system calls that a build may make, by what they are for.
type SyscallGroup struct {
	// Names are names of system calls as libseccomp spells them, of whatever ABI: a name that an ABI lacks is left out there.
	Names []string
	// Why says what the calls are for and, of one that surprises, what it cannot do and where that is written.
	Why string
}

// Passing is the list of the second filter of every contained jail. What neither it nor Refusals nor Traced names, and so
// every call that a future kernel brings, looks unimplemented (ENOSYS): C libraries fall back then, as on an older kernel.
// Left out on purpose: modify_ldt, vm86 (kernel surface for 16-bit code), kcmp and process_madvise (other processes), nfsservctl,
// lookup_dcookie, sysfs, ustat, uselib's like (obsolete), sethostname, setdomainname, vhangup (the host's), memfd_secret,
// statmount, listmount and lsm_* (the host's mounts and labels are no input).
func Passing() []SyscallGroup {
	return append(passingIO(), append(passingTasks(), passingRest()...)...)
}

func passingIO() []SyscallGroup {
	return []SyscallGroup{
		{Names: []string{"read", "write", "readv", "writev", "pread64", "pwrite64", "preadv", "pwritev", "preadv2", "pwritev2", "lseek", "_llseek",
			"close", "close_range", "dup", "dup2", "dup3", "fcntl", "fcntl64", "flock", "pipe", "pipe2", "ioctl", "sendfile", "sendfile64",
			"copy_file_range", "splice", "tee", "vmsplice", "readahead", "fadvise64", "fadvise64_64", "cachestat"},
			Why: "input and output through descriptors that were opened under the rules"},
		{Names: []string{"fstat", "fstat64", "fstatfs", "fstatfs64", "getcwd", "fchdir", "fchown", "fchown32", "fchmod", "umask", "fsync", "fdatasync",
			"sync", "syncfs", "sync_file_range", "fallocate", "ftruncate", "ftruncate64"},
			Why: "files by descriptor; sync(2) reaches other file systems, and only costs time"},
		{Names: []string{"select", "_newselect", "pselect6", "pselect6_time64", "poll", "ppoll", "ppoll_time64", "epoll_create", "epoll_create1",
			"epoll_ctl", "epoll_wait", "epoll_pwait", "epoll_pwait2", "eventfd", "eventfd2", "signalfd", "signalfd4", "timerfd_create",
			"timerfd_settime", "timerfd_gettime", "timerfd_settime64", "timerfd_gettime64", "inotify_init", "inotify_init1", "inotify_rm_watch"},
			Why: "waiting"},
		{Names: []string{"io_setup", "io_destroy", "io_submit", "io_cancel", "io_getevents", "io_pgetevents", "io_pgetevents_time64"},
			Why: "asynchronous input and output of open descriptors (io_submit(2)); unlike io_uring it opens nothing"},
		{Names: []string{"socket", "socketpair", "connect", "bind", "listen", "accept", "accept4", "getsockname", "getpeername", "getsockopt",
			"setsockopt", "sendto", "recvfrom", "sendmsg", "recvmsg", "sendmmsg", "recvmmsg", "recvmmsg_time64", "shutdown"},
			Why: "test suites talk to themselves; the families are bounded by Refusals, the reach by the network namespace"},
	}
}

func passingTasks() []SyscallGroup {
	return []SyscallGroup{
		{Names: []string{"mmap", "mmap2", "munmap", "mremap", "mprotect", "madvise", "mlock", "mlock2", "mlockall", "munlock", "munlockall", "msync",
			"mincore", "brk", "membarrier", "memfd_create", "pkey_mprotect", "pkey_alloc", "pkey_free", "remap_file_pages", "mseal",
			"map_shadow_stack", "get_mempolicy", "set_mempolicy", "mbind"},
			Why: "memory of the caller; the policies of numa(7) are what libraries of message passing set for themselves"},
		{Names: []string{"clone", "fork", "vfork", "exit", "exit_group", "wait4", "waitid", "waitpid", "getpid", "getppid", "gettid", "getpgid",
			"getpgrp", "setpgid", "getsid", "setsid", "set_tid_address", "set_robust_list", "get_robust_list", "rseq", "prctl", "arch_prctl",
			"set_thread_area", "get_thread_area", "personality", "restart_syscall", "pidfd_open", "pidfd_send_signal"},
			Why: "processes of the jail's pid namespace; personality(2) is what setarch(8) of builds for 32 bits calls"},
		{Names: []string{"getuid", "geteuid", "getgid", "getegid", "getresuid", "getresgid", "getgroups", "setuid", "setgid", "setreuid", "setregid",
			"setresuid", "setresgid", "setgroups", "setfsuid", "setfsgid", "getuid32", "geteuid32", "getgid32", "getegid32", "getresuid32",
			"getresgid32", "getgroups32", "setuid32", "setgid32", "setreuid32", "setregid32", "setresuid32", "setresgid32", "setgroups32",
			"setfsuid32", "setfsgid32", "capget", "capset"},
			Why: "asked for by install(1) and test suites; the user namespace maps one id, and there are no capabilities"},
		{Names: []string{"getrlimit", "setrlimit", "prlimit64", "ugetrlimit", "getrusage", "times", "sched_yield", "sched_getaffinity",
			"sched_setaffinity", "sched_getparam", "sched_setparam", "sched_getscheduler", "sched_setscheduler", "sched_get_priority_max",
			"sched_get_priority_min", "sched_rr_get_interval", "sched_rr_get_interval_time64", "sched_getattr", "sched_setattr", "getpriority",
			"setpriority", "nice", "ioprio_get", "ioprio_set", "getcpu"},
			Why: "limits and scheduling, downwards without privilege"},
		{Names: []string{"kill", "tkill", "tgkill", "rt_sigaction", "rt_sigpending", "rt_sigprocmask", "rt_sigqueueinfo", "rt_tgsigqueueinfo",
			"rt_sigreturn", "rt_sigsuspend", "rt_sigtimedwait", "rt_sigtimedwait_time64", "sigaction", "sigaltstack", "signal", "sigpending",
			"sigprocmask", "sigreturn", "sigsuspend", "pause", "alarm"},
			Why: "signals within the pid namespace"},
	}
}

func passingRest() []SyscallGroup {
	return []SyscallGroup{
		{Names: []string{"clock_gettime", "clock_gettime64", "clock_getres", "clock_getres_time64", "clock_nanosleep", "clock_nanosleep_time64",
			"gettimeofday", "time", "nanosleep", "getitimer", "setitimer", "timer_create", "timer_delete", "timer_getoverrun", "timer_gettime",
			"timer_gettime64", "timer_settime", "timer_settime64"},
			Why: "reading clocks; setting one is in Refusals"},
		{Names: []string{"futex", "futex_time64", "futex_waitv", "futex_wake", "futex_wait", "futex_requeue", "shmget", "shmat", "shmdt", "shmctl",
			"semget", "semop", "semctl", "semtimedop", "semtimedop_time64", "msgget", "msgsnd", "msgrcv", "msgctl", "mq_open", "mq_unlink",
			"mq_timedsend", "mq_timedreceive", "mq_timedsend_time64", "mq_timedreceive_time64", "mq_notify", "mq_getsetattr"},
			Why: "System V and POSIX message passing inside the ipc namespace"},
		{Names: []string{"uname", "olduname", "sysinfo", "getrandom"}, Why: "facts of the machine, which reports list as not hidden"},
		{Names: []string{"seccomp", "landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self"},
			Why: "programs that lock themselves in (xz(1), sshd(8)); what they add can only take away"},
	}
}

// PassingNames are the names of all of Passing, and of what the first filter decides or asks about: the kernel takes the
// stricter answer of two filters, and errors before notifications (seccomp(2)), so the second must not refuse these.
func PassingNames(rules []SyscallRule) (names []string) {
	seen := map[string]bool{}
	add := func(list ...string) {
		for _, name := range list {
			if !seen[name] {
				seen[name] = true
				names = append(names, name)
			}
		}
	}
	for _, group := range Passing() {
		add(group.Names...)
	}
	for _, rule := range rules {
		add(rule.Names...)
	}
	for _, call := range Traced() {
		add(call.Name)
	}
	return names
}
