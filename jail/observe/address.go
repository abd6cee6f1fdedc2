package observe

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"hdjail/policies"
)

// readAddress reads a socket address. Only such families count whose addresses name something: files, abstract names, and
// peers of a connection.
func (p *Pending) readAddress(c *pendingPath, arg policies.PathArg) bool {
	size := min(p.call.arg(p.call.Traced.Mode), unix.SizeofSockaddrUnix)
	buf := make([]byte, unix.SizeofSockaddrUnix)
	if size < 2 || p.call.arg(arg.Arg) == 0 {
		return false
	}
	address := p.call.arg(arg.Arg)
	for n := 0; n < int(size); {
		got := p.mem.at(p.call.TID, address+uint64(n), buf[n:min(int(size), n+int(pageSize-(address+uint64(n))%pageSize))])
		if got == 0 {
			c.unreadable = reasonUnreadable
			return true
		}
		n += got
	}
	connects := p.call.Traced.Kind == policies.KindConnect
	switch binary.NativeEndian.Uint16(buf) {
	case unix.AF_UNIX:
		return p.unixAddress(c, buf[2:size])
	case unix.AF_INET:
		if !connects || size < unix.SizeofSockaddrInet4 {
			return false
		}
		c.path = append(c.path, netip.AddrPortFrom(netip.AddrFrom4([4]byte(buf[4:8])), binary.BigEndian.Uint16(buf[2:])).String()...)
		return true
	case unix.AF_INET6:
		if !connects || size < unix.SizeofSockaddrInet6 {
			return false
		}
		c.path = append(c.path, netip.AddrPortFrom(netip.AddrFrom16([16]byte(buf[8:24])), binary.BigEndian.Uint16(buf[2:])).String()...)
		return true
	}
	return false
}

func (p *Pending) unixAddress(c *pendingPath, name []byte) bool {
	if len(name) == 0 {
		return false // unnamed
	}
	if name[0] == 0 {
		if p.call.Traced.Kind == policies.KindBind {
			return false // a name of the jail's own
		}
		c.path = append(append(c.path, '@'), name[1:]...)
		return true
	}
	typed, _, _ := strings.Cut(string(name), "\x00")
	from := "/"
	if typed[0] != '/' {
		if from, c.unreadable = p.base(atFDCWD); c.unreadable != "" {
			return true
		}
	}
	c.path = normal(c.path, strings.TrimSuffix(from, removedMark), []byte(typed))
	c.follow = p.call.Traced.Kind == policies.KindConnect
	return true
}

// isPath reports whether a recorded path is one of files: others are names of sockets.
func isPath(p []byte) bool { return len(p) > 0 && p[0] == '/' }

// inferSocket says how a connection or a binding ends.
func (v *view) inferSocket(p *Pending, c *pendingPath) syscall.Errno {
	if !isPath(c.path) {
		if c.path[0] == '@' {
			return unix.ECONNREFUSED
		}
		peer, err := netip.ParseAddrPort(string(c.path))
		if err == nil && !peer.Addr().Unmap().IsLoopback() && !peer.Addr().IsUnspecified() {
			return unix.ENETUNREACH // the jail's network has a loopback device only
		}
		return 0
	}
	c.look = v.at(c.path, p.call.TID, c.follow)
	c.resolved = true
	if p.call.Traced.Kind == policies.KindBind {
		errno := v.inferCreate(c)
		if errno == unix.EEXIST {
			return unix.EADDRINUSE
		}
		return errno
	}
	if c.look.errno == 0 && c.look.mode&unix.S_IFMT != unix.S_IFSOCK {
		return unix.ECONNREFUSED
	}
	return c.look.errno
}
