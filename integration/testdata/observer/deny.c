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

static int deny(int call, unsigned arg0, unsigned arg1_bits, int error)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 5),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, arg0, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
		BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, arg1_bits, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {sizeof code / sizeof *code, code};
	if (!arg1_bits)
		code[5].jt = code[5].jf = 0;
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program);
}

int main(int argc, char **argv)
{
	int failed = 1;
	if (argc > 2 && strcmp(argv[1], "listener") == 0) // NEW_LISTENER
		failed = deny(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 1 << 3, EINVAL);
	if (argc > 2 && strcmp(argv[1], "action") == 0)
		failed = deny(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, EOPNOTSUPP);
	if (argc > 2 && strcmp(argv[1], "trace") == 0) // PTRACE_SEIZE
		failed = deny(SYS_ptrace, 0x4206, 0, EPERM);
	if (argc > 2 && strcmp(argv[1], "info") == 0) // PTRACE_GET_SYSCALL_INFO
		failed = deny(SYS_ptrace, 0x420e, 0, EIO);
	if (failed)
		return 99;
	execv(argv[2], argv + 2);
	perror(argv[2]);
	return 99;
}
