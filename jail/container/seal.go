package container

import (
	"errors"
	"os"

	"github.com/opencontainers/runc/libcontainer/exeseal"
	"golang.org/x/sys/unix"

	"hdjail/jail"
)

// Seal returns this program as a file that nobody can change, for Options.Program, and replaces this process by a sealed
// copy of itself first, unless it is one already or needs none; jail/reexec makes the copy before Go starts again.
// libcontainer would else copy the program for each jail (CVE-2019-5736). Root needs none where its program can be shown to
// jails through a read-only overlay, which is made with dir, as in Options.RunDir. Call it before anything that cannot be
// done twice.
func Seal(dir string) (*os.File, error) {
	root := os.Geteuid() == 0
	if root {
		if err := ownDirectory(dir); err != nil {
			return nil, &jail.SetupError{Phase: "run-directory", Err: err}
		}
	}
	if root || exeseal.IsSelfExeCloned() {
		file, err := sealedSelf(dir)
		if err != nil {
			return nil, &jail.SetupError{Phase: "seal", Err: err}
		}
		if exeseal.IsSelfExeCloned() || !exeseal.IsCloned(file) {
			return file, nil
		}
		file.Close() // a copy, which would be made again for each jail
	}
	if _, again := os.LookupEnv(sealVariable); again {
		return nil, errors.New("seal this program: memory files cannot be executed here; see hdjail doctor")
	}
	err := unix.Exec("/proc/self/exe", os.Args, append(os.Environ(), sealVariable+"=1"))
	return nil, &os.PathError{Op: "exec", Path: "/proc/self/exe", Err: err}
}

// sealVariable asks jail/reexec for the copy; it is gone in the sealed program.
const sealVariable = "_HDJAIL_SEAL"

// sealedSelf returns this program as a file that nobody can change, for stage 2. dir is a directory of ours, apart from
// the program's.
func sealedSelf(dir string) (*os.File, error) {
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		return nil, err
	}
	if exeseal.IsCloned(self) {
		return self, nil
	}
	self.Close()
	copied, err := exeseal.CloneSelfExe(dir)
	if err != nil {
		return nil, err
	}
	return copied, readable(copied)
}

// readable makes the file readable for everybody: a process that executes a file which it may not read is not dumpable,
// and so cannot map its own ids (proc(5)).
func readable(file *os.File) error {
	info, err := file.Stat()
	if err == nil && info.Mode().Perm()&0o444 != 0o444 {
		err = file.Chmod(0o555)
	}
	if err != nil {
		return errors.Join(err, file.Close())
	}
	return nil
}
