// Trials of what observers need, in throw-away children. The program ends with status 0, or with the number of the error. They
// run in a constructor, as stage 2 does, for `hdjail doctor`.
#define _GNU_SOURCE
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef SECCOMP_USER_NOTIF_FLAG_CONTINUE // Linux 5.5
#define SECCOMP_USER_NOTIF_FLAG_CONTINUE 1
#endif

// load has getppid answered with an action.
static int load(uint32_t action, unsigned long flags)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, action),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {sizeof code / sizeof *code, code};
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return -1;
	return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
}

// Ends the child with 0 if a call that is asked about goes on and is answered by the kernel.
static void call_and_end(void)
{
	_exit(syscall(SYS_getppid) > 0 ? 0 : errno);
}

static int end_of(pid_t child)
{
	int status = 0;
	if (waitpid(child, &status, __WALL) != child)
		return errno;
	return WIFEXITED(status) ? WEXITSTATUS(status) : EIO;
}

static int answer(int listener)
{
	struct {
		struct seccomp_notif notification;
		char more[256]; // what later kernels add
	} asked;
	struct seccomp_notif_resp response;
	memset(&asked, 0, sizeof asked);
	memset(&response, 0, sizeof response);
	if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &asked) != 0)
		return errno;
	response.id = asked.notification.id;
	response.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
	return ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &response) == 0 ? 0 : errno;
}

// The child's listener is ours, too, because it shares our descriptors.
static int try_listener(void)
{
	int report[2], listener = -1;
	if (pipe(report) != 0)
		return errno;
	pid_t child = (pid_t)syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0);
	if (child < 0)
		return errno;
	if (child == 0) {
		listener = load(SECCOMP_RET_USER_NOTIF, SECCOMP_FILTER_FLAG_NEW_LISTENER);
		int failed = errno;
		(void)!write(report[1], &listener, sizeof listener);
		if (listener < 0)
			_exit(failed);
		call_and_end();
	}
	if (read(report[0], &listener, sizeof listener) != sizeof listener)
		return EIO;
	int failed = listener >= 0 ? answer(listener) : 0;
	if (listener >= 0)
		close(listener); // if there was no answer, the child gets ENOSYS
	int ended = end_of(child);
	return failed ? failed : ended;
}

static int try_tracer(void)
{
	int go[2], status = 0;
	char byte;
	if (pipe(go) != 0)
		return errno;
	pid_t child = fork();
	if (child < 0)
		return errno;
	if (child == 0) {
		close(go[1]);
		if (read(go[0], &byte, 1) != 1)
			_exit(EIO);
		if (load(SECCOMP_RET_TRACE, 0) != 0)
			_exit(errno);
		call_and_end();
	}
	int failed = ptrace(PTRACE_SEIZE, child, 0, PTRACE_O_EXITKILL | PTRACE_O_TRACESECCOMP) == 0 ? 0 : errno;
	if (!failed) {
		(void)!write(go[1], "", 1);
		if (waitpid(child, &status, __WALL) != child || status >> 8 != (SIGTRAP | PTRACE_EVENT_SECCOMP << 8))
			return WIFEXITED(status) ? WEXITSTATUS(status) : EIO;
		ptrace(PTRACE_CONT, child, 0, 0);
	}
	close(go[1]);
	int ended = end_of(child);
	return failed ? failed : ended;
}

__attribute__((constructor)) static void probe_entry(int argc, char **argv, char **envp)
{
	(void)envp;
	if (argc != 1)
		return;
	if (strcmp(argv[0], "hdjail-probe-listener") == 0)
		_exit(try_listener());
	if (strcmp(argv[0], "hdjail-probe-tracer") == 0)
		_exit(try_tracer());
}
