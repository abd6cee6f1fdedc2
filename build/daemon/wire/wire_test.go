package wire

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hdjail/artifact"
)

// pair is both ends of a connection.
func pair(t *testing.T) (a, b *Conn) {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "s"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	one, err := net.DialUnix("unix", nil, l.Addr().(*net.UnixAddr))
	if err != nil {
		t.Fatal(err)
	}
	other, err := l.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	a, b = NewConn(one), NewConn(other)
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

func TestConn(t *testing.T) {
	a, b := pair(t)
	f, err := os.CreateTemp(t.TempDir(), "f")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte("content"), 0); err != nil {
		t.Fatal(err)
	}
	if err := a.Send(Request{Version: 1, Put: &Put{Digest: "x"}}, f); err != nil {
		t.Fatal(err)
	}
	if err := a.Send(Request{Version: 1, Hello: &Hello{}}, nil); err != nil {
		t.Fatal(err)
	}
	var q Request
	file, err := b.Receive(&q, time.Minute)
	if err != nil || q.Kind() != "put" || file == nil {
		t.Fatalf("received %+v, file %v, %v", q, file, err)
	}
	text, err := io.ReadAll(file)
	if err := errors.Join(err, file.Close()); err != nil || string(text) != "content" {
		t.Errorf("read %q, %v", text, err)
	}
	q = Request{}
	if file, err := b.Receive(&q, time.Minute); err != nil || q.Kind() != "hello" || file != nil {
		t.Errorf("received %+v, file %v, %v", q, file, err)
	}
	caller, err := b.Peer()
	if err != nil || caller.UID != os.Getuid() || caller.PID != os.Getpid() {
		t.Errorf("peer %+v, %v", caller, err)
	}
	want, err := os.Getgroups()
	if slices.Sort(want); err != nil || caller.Groups != nil && !slices.Equal(caller.Groups, want) {
		t.Errorf("groups %v, want %v, %v", caller.Groups, want, err)
	}
	if err := a.Send(Request{Derive: &artifact.Derivation{Script: strings.Repeat("x", MaxFrame)}}, nil); !errors.As(err, new(*TooLargeError)) {
		t.Errorf("too large: %v", err)
	}
	a.Close()
	if _, err := b.Receive(&q, time.Minute); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
}

// What is no frame, or brings more than one descriptor, is refused, and no descriptor stays open.
func TestMalformed(t *testing.T) {
	hello := frame(`{"v":1,"hello":{}}`)
	for name, test := range map[string]struct {
		bytes []byte
		fds   int
	}{
		"no length":       {bytes: hello[:3]},
		"cut off":         {bytes: hello[:9]},
		"empty":           {bytes: []byte{0, 0, 0, 0}},
		"huge":            {bytes: []byte{0xff, 0xff, 0xff, 0xff}},
		"no JSON":         {bytes: frame(`hello`)},
		"unknown field":   {bytes: frame(`{"v":1,"hello":{"uid":0}}`)},
		"unknown hooks":   {bytes: frame(`{"v":1,"hello":{},"hooks":["/bin/sh"]}`)},
		"two objects":     {bytes: frame(`{"v":1,"hello":{}}{}`)},
		"two descriptors": {bytes: hello, fds: 2},
		"many":            {bytes: hello, fds: 40},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := pair(t)
			before := descriptors(t)
			fds := make([]int, test.fds)
			if _, _, err := a.socket.WriteMsgUnix(test.bytes, unix.UnixRights(fds...), nil); err != nil {
				t.Fatal(err)
			}
			if err := a.socket.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			file, err := b.Receive(new(Request), time.Minute)
			if !errors.As(err, new(*FrameError)) || file != nil {
				t.Errorf("received %v, %v", file, err)
			}
			if now := descriptors(t); now != before {
				t.Errorf("%d descriptors are open, and %d were", now, before)
			}
		})
	}
}

// A frame that has begun ends within the patience of who reads it.
func TestPatience(t *testing.T) {
	a, b := pair(t)
	if _, err := a.socket.Write([]byte{0, 0}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Receive(new(Request), time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("error %v", err)
	}
}

func frame(body string) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
}

func descriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

func FuzzFrame(f *testing.F) {
	for _, seed := range []string{"", "\x00\x00\x00\x02{}", "\x00\x20\x00\x00", string(frame(`{"v":1,"hello":{}}`)), "\x00\x00\x00\xff{"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r := bytes.NewReader(data)
		for {
			body, err := readFrame(r, nil)
			if err != nil {
				if !errors.As(err, new(*FrameError)) && !errors.Is(err, io.EOF) {
					t.Fatal(err)
				}
				return
			}
			if len(body) == 0 || len(body) > MaxFrame {
				t.Fatalf("a body of %d bytes", len(body))
			}
		}
	})
}

// FuzzRequest: what is read as a request is one after it was written and read again.
func FuzzRequest(f *testing.F) {
	d := &artifact.Derivation{Name: "x", Interpreter: []string{"/bin/sh"}, HostPaths: []artifact.HostPath{{Path: "/opt", Identity: "id:1"}}}
	for _, q := range []Request{{Version: 1, Hello: &Hello{}}, {Version: 1, Pin: &Pin{Packages: []string{"gcc"}}}, {Version: 1, Derive: d},
		{Version: 1, Build: &Build{Steps: []Step{{ID: d.ID(), Mode: "fail", Limits: &Limits{CPU: 1.5}}}, Targets: []artifact.DerivationID{d.ID()}}},
		{Version: 1, Put: &Put{Digest: "tree:0"}, Attach: &Attach{}}, {Version: 2, Jobs: &Jobs{}}, {Version: 1, Have: &Have{}}, {Version: 1, Owner: &Owner{}}} {
		text, err := json.Marshal(q)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(`{"v":1,"build":{"steps":[{"id":"x"}]}}`))
	f.Add([]byte(`{"v":1,"build":{"targets":null,"uid":0}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var q, again Request
		if err := decode(text, &q); err != nil {
			if !errors.As(err, new(*FrameError)) {
				t.Fatal(err)
			}
			return
		}
		written, err := json.Marshal(q)
		if err != nil {
			t.Fatal(err)
		}
		if err := decode(written, &again); err != nil || again.Kind() != q.Kind() {
			t.Fatalf("%s: %q became %q, %v", written, q.Kind(), again.Kind(), err)
		}
	})
}
