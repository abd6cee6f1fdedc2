// deny WHAT PROGRAM [ARGUMENT...]: runs a program on what looks like a kernel that lacks something.
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

// deny has a call fail whose argument is a value (BPF_JEQ) or has its bits (BPF_JSET).
static int deny(int call, int argument, int test, unsigned value, int error)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args) + 8 * argument),
		BPF_JUMP(BPF_JMP | test | BPF_K, value, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {sizeof code / sizeof *code, code};
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program);
}

int main(int argc, char **argv)
{
	int failed = 1;
	if (argc > 2 && strcmp(argv[1], "listener") == 0) // NEW_LISTENER
		failed = deny(SYS_seccomp, 1, BPF_JSET, 1 << 3, EINVAL);
	if (argc > 2 && strcmp(argv[1], "action") == 0)
		failed = deny(SYS_seccomp, 0, BPF_JEQ, SECCOMP_GET_ACTION_AVAIL, EOPNOTSUPP);
	if (argc > 2 && strcmp(argv[1], "trace") == 0) // PTRACE_SEIZE
		failed = deny(SYS_ptrace, 0, BPF_JEQ, 0x4206, EPERM);
	if (argc > 2 && strcmp(argv[1], "info") == 0) // PTRACE_GET_SYSCALL_INFO
		failed = deny(SYS_ptrace, 0, BPF_JEQ, 0x420e, EIO);
	if (argc > 2 && strcmp(argv[1], "continue") == 0) // answers to notifications
		failed = deny(SYS_ioctl, 1, BPF_JEQ, 0xC0182101, EINVAL);
	if (failed)
		return 99;
	execv(argv[2], argv + 2);
	perror(argv[2]);
	return 99;
}
