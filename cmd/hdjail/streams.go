package main

import (
	"io"
	"os"
)

// streams are what a command in a jail gets of the caller's. It never gets a terminal of the host: with all of them the
// jail makes one of its own, and what is left over is passed through pipes.
type streams struct {
	in       *os.File
	out, err io.Writer
	terminal bool
}

func (a *app) streams() streams {
	s := streams{in: a.stdin, out: os.Stdout, err: os.Stderr}
	if isTerminal(a.stdin) && isTerminal(os.Stdout) {
		s.terminal = true
		return s
	}
	if isTerminal(os.Stdout) {
		s.out = throughPipe{os.Stdout}
	}
	if isTerminal(os.Stderr) {
		s.err = throughPipe{os.Stderr}
	}
	if isTerminal(a.stdin) {
		s.in = readThroughPipe(a.stdin)
	}
	return s
}

// throughPipe hides that a writer is a file, so that the jail gets the end of a pipe.
type throughPipe struct{ io.Writer }

// readThroughPipe copies a terminal into a pipe until the program ends: a read from a terminal cannot be interrupted.
func readThroughPipe(terminal *os.File) *os.File {
	read, write, err := os.Pipe()
	if err != nil {
		return nil
	}
	go func() {
		io.Copy(write, terminal)
		write.Close()
	}()
	return read
}
