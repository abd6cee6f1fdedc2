package main

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// streams are what a command in a jail gets of the caller's: pipes, /dev/null, or the jail's own terminal. Anything else is
// relayed through a pipe, because a descriptor of the host is a way back to it: through /proc/self/fd a read-only file can
// be opened for writing and a directory be walked, and a socket has the host's network.
type streams struct {
	in       *os.File
	out, err io.Writer
	terminal bool
}

func (a *app) streams() (streams, error) {
	s := streams{in: a.stdin, out: os.Stdout, err: os.Stderr}
	if isTerminal(a.stdin) && isTerminal(os.Stdout) {
		s.terminal = true
		return s, nil
	}
	if !harmless(os.Stdout) {
		s.out = throughPipe{os.Stdout}
	}
	if !harmless(os.Stderr) {
		s.err = throughPipe{os.Stderr}
	}
	if harmless(a.stdin) {
		return s, nil
	}
	info, err := a.stdin.Stat()
	if err != nil || info.IsDir() {
		return s, usagef("standard input is a directory", "give it a file, a pipe or /dev/null")
	}
	s.in, err = readThroughPipe(a.stdin)
	return s, err
}

// harmless reports whether a descriptor leads nowhere: a pipe, or /dev/null.
func harmless(f *os.File) bool {
	var st, null unix.Stat_t
	if unix.Fstat(int(f.Fd()), &st) != nil {
		return false
	}
	if st.Mode&unix.S_IFMT == unix.S_IFIFO {
		return true
	}
	return unix.Stat(os.DevNull, &null) == nil && st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == null.Rdev
}

// throughPipe hides that a writer is a file, so that the jail gets the end of a pipe.
type throughPipe struct{ io.Writer }

// readThroughPipe copies a file into a pipe until its end, or until the program ends: a read from a terminal cannot be
// interrupted.
func readThroughPipe(from *os.File) (*os.File, error) {
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	go func() {
		io.Copy(write, from)
		write.Close()
	}()
	return read, nil
}
