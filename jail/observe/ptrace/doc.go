// Package ptrace observes a jail where seccomp user notification is missing: it traces the jail's processes (ptrace(2)). The
// jail's filter stops a task at each call that is asked about (SECCOMP_RET_TRACE), all others run at full speed. A call stops
// twice, before it and with its result. What a path means and what the record says belongs to package observe.
//
// A traced process cannot be traced by another, so debuggers and strace do not work in such a jail. A process that leaves its
// tracer, by CLONE_UNTRACED, has its calls answered with ENOSYS by the filter. If hdjail ends, the kernel kills whatever it
// traces.
package ptrace
