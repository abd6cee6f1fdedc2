// Package lease tells which process holds a lock or a temporary directory, and whether it still lives.
//
// A lock only saves double work: publishing in the store is idempotent, so nothing is lost when two processes believe that
// they hold one. Clocks of two machines are never compared.
package lease

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Holder is a process. Start is when it began, in clock ticks since the machine started, so that a later process with the
// same number is not taken for it (proc_pid_stat(5)).
type Holder struct {
	Host string `json:"host"`
	// Boot identifies the run of the kernel, Namespace the pid namespace that PID counts in.
	Boot      string `json:"boot"`
	Namespace uint64 `json:"namespace"`
	PID       int    `json:"pid"`
	Start     uint64 `json:"start"`
}

// Life is what one process can tell of another.
type Life int

// Unknown is the answer for a process on another machine, or in another pid namespace of this one.
const (
	Unknown Life = iota
	Alive
	Gone
)

// Self returns this process.
func Self() (Holder, error) {
	var h Holder
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return h, fmt.Errorf("read host name: %w", err)
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return h, fmt.Errorf("identify this boot: %w", err)
	}
	var ns unix.Stat_t
	if err := unix.Stat("/proc/self/ns/pid", &ns); err != nil {
		return h, fmt.Errorf("identify the pid namespace: %w", err)
	}
	h = Holder{Host: unix.ByteSliceToString(name.Nodename[:]), Boot: string(bytes.TrimSpace(boot)), Namespace: ns.Ino, PID: os.Getpid()}
	h.Start, err = startTime(h.PID)
	return h, err
}

// String names the process for people.
func (h Holder) String() string { return fmt.Sprintf("process %d on %s", h.PID, h.Host) }

// Sees tells whether other lives, as far as the process h, which has to be the caller, can know.
func (h Holder) Sees(other Holder) Life {
	switch {
	case h.Host != other.Host:
		return Unknown
	case h.Boot != other.Boot:
		return Gone
	case h.Namespace != other.Namespace:
		return Unknown
	}
	start, err := startTime(other.PID)
	if os.IsNotExist(err) && unix.Kill(other.PID, 0) == unix.EPERM {
		return Unknown // proc(5), hidepid: another user's process lives, which one we cannot see
	}
	if os.IsNotExist(err) || err == unix.ESRCH || err == nil && start != other.Start {
		return Gone
	}
	return Alive
}

// startTime reads field 22 of /proc/PID/stat. The second field, a name in parentheses, may hold anything.
func startTime(pid int) (uint64, error) {
	path := "/proc/" + strconv.Itoa(pid) + "/stat"
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	if len(fields) < 20 {
		return 0, fmt.Errorf("read %q: it has only %d fields", path, len(fields))
	}
	if fields[0] == "Z" || fields[0] == "X" {
		return 0, unix.ESRCH // it has ended, its parent has just not asked yet
	}
	return strconv.ParseUint(fields[19], 10, 64)
}
