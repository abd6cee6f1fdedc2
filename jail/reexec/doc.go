// Package reexec holds what runs in a new process before the build does: the hook that turns a re-executed binary into
// libcontainer's init, and in C what must cost little or act before Go: stage 2, which is pid 1 of every jail, the hook that
// makes its mounts, and the sealing of the program.
//
// A main package and each test binary that starts a jail import it by _. Only this package has an init function, and cgo
// comes in here: both must act before flags are parsed, or before the Go runtime exists. Binaries are linked statically,
// because stage 2 starts after the host's libraries are out of reach.
package reexec

// #cgo CFLAGS: -Wall -Wextra -O2 -std=gnu11
// #cgo LDFLAGS: -static
import "C"

import (
	"os"

	"github.com/opencontainers/runc/libcontainer"
	_ "github.com/opencontainers/runc/libcontainer/nsenter" // runs before Go, in C
	"golang.org/x/sys/unix"
)

// Stage2Name is the one argument of stage 2; pid 1 of a namespace with that argument never reaches Go.
const Stage2Name = "hdjail-stage2"

// MountsName is the one argument of the hook that makes a jail's mounts.
const MountsName = "hdjail-mounts"

func init() {
	if len(os.Args) == 2 && os.Args[1] == "init" && os.Getenv("_LIBCONTAINER_INITPIPE") != "" {
		// nsenter's forks have lost it, and libcontainer keeps what it finds. Without it, an init whose runner is killed while
		// it waits for the order to start the command waits for ever. A runner that is dead already is noticed by its pipe.
		_ = unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0) // never fails
		libcontainer.Init()
	}
}
