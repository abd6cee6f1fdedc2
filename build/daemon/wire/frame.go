package wire

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// MaxFrame is how long the body of a frame may be, in bytes.
const MaxFrame = 2 << 20

// FrameError reports bytes that are no frame, or a body that is no message. Nothing that follows can be read.
type FrameError struct{ Reason string }

// Error implements error.
func (e *FrameError) Error() string { return "read frame: " + e.Reason }

func malformed(format string, args ...any) error {
	return &FrameError{fmt.Sprintf(format, args...)}
}

// readFrame reads one body, when admit, unless nil, has let its length in. An end before the first byte is io.EOF.
func readFrame(r io.Reader, admit func(size int)) ([]byte, error) {
	var header [4]byte
	if n, err := io.ReadFull(r, header[:]); err != nil {
		if n > 0 && errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, malformed("it ends within its length")
		}
		return nil, err
	}
	size := binary.BigEndian.Uint32(header[:])
	if size == 0 || size > MaxFrame {
		return nil, malformed("its length is %d, and 1 to %d are allowed", size, MaxFrame)
	}
	if admit != nil {
		admit(int(size))
	}
	var body bytes.Buffer // grows with what comes, whatever the length says
	if _, err := io.CopyN(&body, r, int64(size)); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, malformed("it ends after %d of %d bytes", body.Len(), size)
		}
		return nil, err
	}
	return body.Bytes(), nil
}

// decode reads a body into a message. Fields that the message does not have are refused.
func decode(body []byte, message any) error {
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(message); err != nil {
		return malformed("%v", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return malformed("something follows its object")
	}
	return nil
}

// Conn is one end of a connection. One goroutine may receive while others send.
type Conn struct {
	socket  *net.UnixConn
	sending sync.Mutex
	// file came with the frame that is being read.
	file *os.File
	// tooMany tells that more than one came.
	tooMany bool
	admit   func(size int)
}

// NewConn returns the end that socket is; Close closes it.
func NewConn(socket *net.UnixConn) *Conn { return &Conn{socket: socket} }

// Admit has wait called with the length of each frame before its body is read. Set it before the first Receive.
func (c *Conn) Admit(wait func(size int)) { c.admit = wait }

// Close ends the connection, also for who waits in another goroutine.
func (c *Conn) Close() error { return c.socket.Close() }

// Listen returns when the other end is gone, or says something where nothing is to be said.
func (c *Conn) Listen() {
	defer c.drop()
	_, _ = c.Read(make([]byte, 1)) // whichever it was
}

func (c *Conn) drop() {
	if c.file != nil {
		c.file.Close()
	}
	c.file = nil
}

// Read implements io.Reader, and takes the descriptors that come along.
func (c *Conn) Read(p []byte) (int, error) {
	oob := make([]byte, unix.CmsgSpace(4*4)) // what has no room is closed by the kernel, and said (recvmsg(2))
	n, oobn, flags, _, err := c.socket.ReadMsgUnix(p, oob)
	c.tooMany = c.tooMany || flags&unix.MSG_CTRUNC != 0
	if oobn > 0 {
		c.take(oob[:oobn])
	}
	if errors.Is(err, io.EOF) || err == nil && n == 0 && len(p) > 0 {
		err = io.EOF // bare, as readers want it
	}
	return n, err
}

func (c *Conn) take(oob []byte) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		c.tooMany = true
		return
	}
	for _, m := range messages {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			continue
		}
		for _, fd := range fds {
			unix.CloseOnExec(fd)
			if c.file != nil {
				c.tooMany = true
				unix.Close(fd)
				continue
			}
			_ = unix.SetNonblock(fd, true) // a pipe can have a deadline then
			c.file = os.NewFile(uintptr(fd), "descriptor of the client")
		}
	}
}

// Receive reads the next message. The descriptor that came with it, nil for none, belongs to the caller. The end of the
// connection is io.EOF; what is no message is *FrameError. Once it has begun, a frame has to be complete within patience.
func (c *Conn) Receive(message any, patience time.Duration) (file *os.File, err error) {
	defer c.drop()
	body, err := readFrame(&patient{c, patience}, c.admit)
	if err != nil {
		return nil, err
	}
	if c.tooMany {
		return nil, malformed("it carries more than one descriptor")
	}
	if err := decode(body, message); err != nil {
		return nil, err
	}
	file, c.file = c.file, nil
	return file, nil
}

// patient sets the deadline of a frame when its first byte is there.
type patient struct {
	c        *Conn
	patience time.Duration
}

// Read implements io.Reader.
func (p *patient) Read(b []byte) (int, error) {
	n, err := p.c.Read(b)
	if n > 0 && p.patience > 0 {
		err = errors.Join(err, p.c.socket.SetReadDeadline(time.Now().Add(p.patience)))
		p.patience = 0
	}
	return n, err
}

// Await sets when the next frame has to begin at the latest; zero is never.
func (c *Conn) Await(deadline time.Time) error { return c.socket.SetReadDeadline(deadline) }

// sendPatience is how long the other end may take to read a frame.
const sendPatience = 30 * time.Second

// Send writes a message, with a descriptor unless file is nil.
func (c *Conn) Send(message any, file *os.File) error {
	body, err := json.Marshal(message)
	if err != nil {
		return fmt.Errorf("encode message: %w", err)
	}
	if len(body) > MaxFrame {
		return &TooLargeError{len(body)}
	}
	frame := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(body)), uint32(len(body)))
	frame = append(frame, body...)
	c.sending.Lock()
	defer c.sending.Unlock()
	if err := c.socket.SetWriteDeadline(time.Now().Add(sendPatience)); err != nil {
		return err
	}
	sent := 0
	if file != nil {
		if sent, _, err = c.socket.WriteMsgUnix(frame, unix.UnixRights(int(file.Fd())), nil); err != nil {
			return err
		}
	}
	_, err = c.socket.Write(frame[sent:])
	return err
}

// TooLargeError reports a message that fits into no frame.
type TooLargeError struct{ Bytes int }

// Error implements error.
func (e *TooLargeError) Error() string {
	return fmt.Sprintf("send message: it has %d bytes, and a frame holds %d", e.Bytes, MaxFrame)
}
