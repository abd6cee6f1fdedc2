package container

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/opencontainers/runc/libcontainer"
	"golang.org/x/sys/unix"

	"hdjail/jail"
)

// grace is how long processes have between SIGTERM and SIGKILL.
const grace = 5 * time.Second

// process is one running jail.
type process struct {
	config    jail.Config
	container *libcontainer.Container
	init      *libcontainer.Process
	started   time.Time
	enforced  jail.Enforced
	// growthPause is how long the scratch is not measured.
	growthPause time.Duration

	control, remote       *os.File // the two ends of stage 2's socket
	plan                  *os.File
	stdin, stdout, stderr *os.File
	output                *output
	terminal              *terminal
	reported              bool
	lent                  []lentPipe
	observer              *observer // nil when nothing is recorded
}

// openStreams makes the control socket and the ends of the streams that the jail gets.
func (p *process) openStreams() error {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return &os.SyscallError{Syscall: "socketpair", Err: err}
	}
	p.control, p.remote = os.NewFile(uintptr(fds[0]), "control"), os.NewFile(uintptr(fds[1]), "control")
	if p.observer != nil && p.observer.kind == ObserverPtrace { // it has to know who asks for a tracer
		if err := unix.SetsockoptInt(fds[0], unix.SOL_SOCKET, unix.SO_PASSCRED, 1); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	if p.stdin, err = os.Open(os.DevNull); err != nil {
		return err
	}
	if p.config.Stdin != nil && !p.config.Terminal {
		p.stdin.Close()
		p.stdin = p.config.Stdin
	}
	p.output, err = newOutput(p.config)
	if err != nil {
		return err
	}
	p.stdout, p.stderr = p.output.stdout, p.output.stderr
	return nil
}

// fence plans Landlock for the jail, and notes what stands.
func (p *process) fence(abi int) landlock {
	l := planLandlock(p.config, abi)
	switch {
	case l.handled != 0:
		p.enforced.Landlock = abi
	case p.config.Mode.Filtered():
		p.enforced.Missing = append(p.enforced.Missing, "Landlock: the kernel has none of ABI 2 or later")
	}
	return l
}

// closeChildEnds closes what only the jail needs, once it is started. Closing a nil file does nothing.
func (p *process) closeChildEnds() {
	p.remote.Close()
	p.plan.Close()
	if p.output != nil {
		p.output.closeChildEnds()
	}
	if p.stdin != nil && p.stdin != p.config.Stdin {
		p.stdin.Close()
	}
}

// closeFiles closes everything of a jail that was not started, however far it came.
func (p *process) closeFiles() {
	p.returnPipes()
	p.closeChildEnds()
	p.control.Close()
	if p.output != nil {
		p.output.finish()
	}
}

// destroy ends what is left of the container and removes its state and its cgroup. The control socket stays.
func (p *process) destroy() {
	if p.container != nil {
		p.container.Destroy()
	}
}

// message is one report of stage 2.
type message struct {
	kind   byte
	fields []string
	file   *os.File // a descriptor that came along, nil for none
	pid    int      // of the sender, outside; 0 where nobody asked to know
}

// supervise waits until no process of the jail exists. Whatever ends the wait early kills the jail first.
func (p *process) supervise(ctx context.Context) (jail.Result, error) {
	messages := make(chan message)
	go p.receive(messages)
	gone := make(chan *os.ProcessState, 1)
	go func() {
		state, _ := p.init.Wait()
		gone <- state
	}()
	dead := false
	watch := newWatch(p.config.Limits, p.started)
	defer watch.stop()
	growing, stop := context.WithCancel(context.Background())
	defer stop()
	grown := p.watchGrowth(growing)
	var result jail.Result
	var failed error
	var state *os.ProcessState
	ending := ctx.Done()
	var forced <-chan time.Time
	for messages != nil || !dead {
		select {
		case m, open := <-messages:
			if !open {
				messages = nil
				continue
			}
			if err := p.handle(m, &result); err != nil {
				failed = errors.Join(failed, err)
				p.init.Signal(os.Kill) // stage 2 has ended itself, or cannot go on without us
			}
		case state = <-gone:
			dead = true
		case <-ending:
			ending = nil
			forced = p.terminate()
		case <-watch.C:
			if forced != nil { // what ended it first counts
				continue
			}
			if result.Stopped = watch.exceeded(p.output); result.Stopped != "" {
				forced = p.terminate()
			}
		case limit := <-grown:
			if forced == nil {
				result.Stopped = limit
				forced = p.terminate()
			}
		case <-forced:
			p.init.Signal(os.Kill)
		}
	}
	p.finish(&result, state)
	if failed = p.observer.explain(failed); failed == nil && ctx.Err() != nil {
		failed = context.Cause(ctx)
	}
	return result, failed
}

// watchGrowth measures the scratch if a limit is on it.
func (p *process) watchGrowth(ctx context.Context) <-chan string {
	l := p.config.Limits
	if p.config.Scratch == nil || l.Output <= 0 && l.Files <= 0 {
		return nil
	}
	return watchGrowth(ctx, p.config.Scratch.Dir, l, p.growthPause)
}

// terminate asks every process to end and returns when to use force.
func (p *process) terminate() <-chan time.Time {
	if _, err := p.control.Write([]byte("T")); err != nil {
		p.init.Signal(os.Kill)
	}
	return time.After(grace)
}

// receive passes on what stage 2 says until it is gone.
func (p *process) receive(messages chan<- message) {
	defer close(messages)
	buffer, oob := make([]byte, 1024), make([]byte, unix.CmsgSpace(4)+unix.CmsgSpace(unix.SizeofUcred))
	for {
		n, oobn, _, _, err := unix.Recvmsg(int(p.control.Fd()), buffer, oob, unix.MSG_CMSG_CLOEXEC)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n == 0 {
			return
		}
		m := message{kind: buffer[0], fields: strings.SplitN(string(buffer[1:n]), " ", 5)}
		m.attach(oob[:oobn])
		messages <- m
	}
}

// reportedError is what a program in the jail has said of why it did not start, if it said anything.
func (p *process) reportedError() error {
	buffer := make([]byte, 1024)
	n, _, err := unix.Recvfrom(int(p.control.Fd()), buffer, unix.MSG_DONTWAIT)
	if err != nil || n == 0 {
		return nil
	}
	return p.handle(message{kind: buffer[0], fields: strings.SplitN(string(buffer[1:n]), " ", 5)}, &jail.Result{})
}

// attach takes in what came along with a message (unix(7)).
func (m *message) attach(oob []byte) {
	controls, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return
	}
	for i := range controls {
		if fds, err := unix.ParseUnixRights(&controls[i]); err == nil && len(fds) == 1 {
			m.file = os.NewFile(uintptr(fds[0]), "received")
		}
		if sender, err := unix.ParseUnixCredentials(&controls[i]); err == nil {
			m.pid = int(sender.Pid)
		}
	}
}

// handle takes one message in; an error means that no command ran.
func (p *process) handle(m message, result *jail.Result) (err error) {
	switch m.kind {
	case 'E':
		var phase, detail string
		var errno int
		if len(m.fields) >= 4 {
			phase, detail = m.fields[1], strings.Join(m.fields[3:], " ")
			fmt.Sscan(m.fields[2], &errno)
		}
		cause := syscall.Errno(errno)
		switch phase {
		case "exec":
			return &jail.CommandError{Path: detail, Err: cause}
		case "listener":
			return listenerRefused(cause)
		}
		return &jail.SetupError{Phase: phase, Err: fmt.Errorf("%s: %w", detail, cause)}
	case 'T':
		p.terminal, err = relay(m.file, p.config)
		return err
	case 'L':
		return p.watch(p.observer.serve(m.file, p.init, m.fields))
	case 'P':
		return p.watch(p.observer.trace(m.pid, p.init))
	case 'X':
		var status, cpu, peak int64
		if _, err := fmt.Sscan(strings.Join(m.fields, " "), &status, &cpu, &peak, &result.Survivors); err != nil {
			return &jail.SetupError{Phase: "end", Err: err}
		}
		ws := syscall.WaitStatus(status)
		result.Exit = ws.ExitStatus()
		if ws.Signaled() {
			result.Signal, result.Exit = int(ws.Signal()), 128+int(ws.Signal())
		}
		result.Usage = jail.Usage{CPU: time.Duration(cpu) * time.Microsecond, PeakMemory: peak << 10}
		p.reported = true
	}
	return nil
}

// watch tells stage 2 that its calls are seen from now on, or returns why they are not.
func (p *process) watch(err error) error {
	if err == nil {
		_, err = p.control.Write([]byte("G"))
	}
	if err != nil {
		return &jail.SetupError{Phase: "observer", Err: err}
	}
	return nil
}

// finish completes a result: with what the kernel counted, and with how it ended if stage 2 had no time to report.
func (p *process) finish(result *jail.Result, state *os.ProcessState) {
	p.observer.finish()
	p.output.finish()
	p.returnPipes()
	p.terminal.close()
	result.Wall = time.Since(p.started)
	if !p.reported {
		result.Signal, result.Exit = int(syscall.SIGKILL), 128+int(syscall.SIGKILL)
		if state == nil {
			return
		}
		if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Exited() {
			result.Signal, result.Exit = 0, status.ExitStatus()
		}
	}
	if result.Stopped == "" && result.Exit == 128+int(syscall.SIGXFSZ) && p.config.Limits.Output > 0 {
		result.Stopped = "output"
	}
	if p.enforced.Limits["memory"] != "cgroup" {
		return
	}
	used := groupMemory(p.container)
	result.Usage.PeakMemory = max(result.Usage.PeakMemory, used.peak)
	if result.Stopped == "" && result.Exit != 0 && used.kills > 0 {
		result.Stopped = "memory"
	}
}
