package integration

import (
	"net"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// receiveDescriptor listens on a socket that everybody may write to, and passes on the file that one caller sends; nil when
// none came.
func receiveDescriptor(t *testing.T, path string) <-chan *os.File {
	t.Helper()
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	received := make(chan *os.File, 1)
	go func() {
		defer close(received)
		caller, err := listener.AcceptUnix()
		if err != nil {
			return
		}
		defer caller.Close()
		oob := make([]byte, unix.CmsgSpace(4))
		_, n, _, _, err := caller.ReadMsgUnix(make([]byte, 1), oob)
		if err != nil {
			return
		}
		messages, err := unix.ParseSocketControlMessage(oob[:n])
		if err != nil || len(messages) != 1 {
			return
		}
		if fds, err := unix.ParseUnixRights(&messages[0]); err == nil && len(fds) == 1 {
			received <- os.NewFile(uintptr(fds[0]), "received")
		}
	}()
	return received
}
