package container

import (
	"errors"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"hdjail/jail"
)

// terminal relays between the caller's terminal and the one in the jail. A nil terminal does nothing.
type terminal struct {
	master  *os.File
	restore func()
	resized chan os.Signal
	drained chan struct{}
}

// relay starts the relay: the caller's terminal becomes raw, and its size is the jail's.
func relay(master *os.File, c jail.Config) (*terminal, error) {
	if master == nil {
		return nil, &jail.SetupError{Phase: "terminal", Err: os.ErrInvalid}
	}
	t := &terminal{master: master, restore: func() {}, resized: make(chan os.Signal, 1), drained: make(chan struct{})}
	if fd := int(c.Stdin.Fd()); term.IsTerminal(fd) {
		old, err := term.MakeRaw(fd)
		if err != nil {
			return nil, &jail.SetupError{Phase: "terminal", Err: errors.Join(err, master.Close())}
		}
		t.restore = func() { term.Restore(fd, old) }
		signal.Notify(t.resized, syscall.SIGWINCH)
		t.resized <- syscall.SIGWINCH
		go t.follow(fd)
	}
	go io.Copy(master, c.Stdin) // ends with the process: a read from a terminal cannot be interrupted
	go func() {
		defer close(t.drained)
		io.Copy(c.Stdout, master) // EIO once the last process has closed the other end
	}()
	return t, nil
}

func (t *terminal) follow(fd int) {
	for range t.resized {
		if size, err := unix.IoctlGetWinsize(fd, unix.TIOCGWINSZ); err == nil {
			unix.IoctlSetWinsize(int(t.master.Fd()), unix.TIOCSWINSZ, size)
		}
	}
}

// close passes the last output on and gives the caller's terminal back.
func (t *terminal) close() {
	if t == nil {
		return
	}
	select {
	case <-t.drained:
	case <-time.After(drainTime): // somebody outside holds the other end
	}
	signal.Stop(t.resized)
	close(t.resized)
	t.master.Close()
	t.restore()
}
