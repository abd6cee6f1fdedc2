package ptrace

import "golang.org/x/sys/unix"

// stop is what a wait status of a traced task says.
type stop int

const (
	stopEnded   stop = iota // the task is gone
	stopCall                // the filter asks about a call, which waits
	stopResult              // a call has its result
	stopExec                // the task runs another program
	stopBirth               // the task has made a process
	stopSignal              // a signal is about to be delivered
	stopGroup               // all threads of the process are stopped, until a SIGCONT
	stopNothing             // a task that begins, has made a thread, or goes on after a group's stop
)

// PTRACE_EVENT_STOP, which golang.org/x/sys/unix does not have for every architecture.
const eventStop = 128

// classify reads a wait status. sig is the signal of a stopSignal.
func classify(ws unix.WaitStatus) (s stop, sig unix.Signal) {
	if !ws.Stopped() {
		return stopEnded, 0
	}
	sig = ws.StopSignal()
	switch int(ws) >> 16 {
	case unix.PTRACE_EVENT_SECCOMP:
		return stopCall, 0
	case unix.PTRACE_EVENT_EXEC:
		return stopExec, 0
	case unix.PTRACE_EVENT_FORK, unix.PTRACE_EVENT_VFORK:
		return stopBirth, 0
	case eventStop:
		if sig != unix.SIGTRAP { // the signal that has stopped the group
			return stopGroup, 0
		}
		return stopNothing, 0
	case 0:
		if sig == unix.SIGTRAP|0x80 { // PTRACE_O_TRACESYSGOOD
			return stopResult, 0
		}
		return stopSignal, sig
	}
	return stopNothing, 0
}
