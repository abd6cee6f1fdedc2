package observe

import (
	"bytes"
	"encoding/binary"
	"strconv"

	"golang.org/x/sys/unix"
)

// Bounds of what is read from a caller.
const (
	pageSize  = 4096     // the smallest there is, so never across a page's end, whatever the page
	pathMax   = 4096     // PATH_MAX, the NUL included (limits.h)
	argvMax   = 4 << 10  // bytes of an argument vector that are kept
	argsMax   = 1 << 10  // arguments that are kept
	usualPath = 256      // most paths are shorter, and copying costs
	linkMax   = 16 << 10 // of a link of /proc, which may be longer than PATH_MAX
)

// Reasons why a path is unknown.
const (
	reasonUnreadable = "the path could not be read from the caller's memory"
	reasonTooLong    = "the path has no end within 4096 bytes"
	reasonBase       = "the directory that the path is relative to could not be told"
	reasonNoDir      = "the path is relative to something that is no directory"
)

// memory reads from other tasks. One goroutine uses it at a time.
type memory struct {
	proc    int // a descriptor of /proc
	scratch [pathMax]byte
}

// at copies from addr of a task to buf, within one page.
func (m *memory) at(tid int, addr uint64, buf []byte) int {
	local := []unix.Iovec{{Base: &buf[0], Len: uint64(len(buf))}}
	remote := []unix.RemoteIovec{{Base: uintptr(addr), Len: len(buf)}}
	n, err := unix.ProcessVMReadv(tid, local, remote, 0)
	if err == nil {
		return n
	}
	// A task that is not dumpable; the file answers to whoever may trace it.
	fd, err := unix.Openat(m.proc, strconv.Itoa(tid)+"/mem", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0
	}
	defer unix.Close(fd)
	n, err = unix.Pread(fd, buf, int64(addr))
	if err != nil {
		return 0
	}
	return n
}

// text reads a string that ends with a NUL, into a buffer that the next call uses again.
func (m *memory) text(tid int, addr uint64) (s []byte, unreadable string) {
	n := 0
	for n < pathMax {
		chunk := min(usualPath, int(pageSize-(addr+uint64(n))%pageSize))
		if n > 0 {
			chunk = int(pageSize - (addr+uint64(n))%pageSize)
		}
		part := m.scratch[n:min(pathMax, n+chunk)]
		got := m.at(tid, addr+uint64(n), part)
		if got == 0 {
			return nil, reasonUnreadable
		}
		if end := bytes.IndexByte(part[:got], 0); end >= 0 {
			return m.scratch[:n+end], ""
		}
		n += got
	}
	return nil, reasonTooLong
}

// word reads an integer of size 4 or 8.
func (m *memory) word(tid int, addr uint64, size int) (uint64, bool) {
	var b [8]byte
	for n := 0; n < size; {
		chunk := min(size-n, int(pageSize-(addr+uint64(n))%pageSize))
		got := m.at(tid, addr+uint64(n), b[n:n+chunk])
		if got == 0 {
			return 0, false
		}
		n += got
	}
	return binary.NativeEndian.Uint64(b[:]), true
}

// argv reads an argument vector as far as it is kept: its pointers and then the beginnings of what they point to, many in
// one call.
func (m *memory) argv(tid int, addr uint64, wordSize int) (args []string, truncated bool) {
	size := 0
	for len(args) < argsMax {
		pointers, ended := m.pointers(tid, addr+uint64(len(args)*wordSize), wordSize)
		if len(pointers) == 0 {
			return args, !ended
		}
		starts := m.starts(tid, pointers)
		for i, pointer := range pointers {
			arg := starts[i]
			if end := bytes.IndexByte(arg, 0); end >= 0 {
				arg = arg[:end]
			} else if long, whole := m.long(tid, pointer); whole {
				arg = long
			} else {
				return args, true
			}
			if size += len(arg) + 1; size > argvMax {
				return append(args, string(arg[:max(0, len(arg)-(size-argvMax))])), true
			}
			args = append(args, string(arg))
		}
		if ended {
			return args, false
		}
	}
	return args, true
}

// long reads an argument that does not end where most do.
func (m *memory) long(tid int, addr uint64) (arg []byte, ok bool) {
	arg, unreadable := m.text(tid, addr)
	if unreadable == reasonTooLong {
		return m.scratch[:], true
	}
	return arg, unreadable == ""
}

// pointersMax is how many pointers are read at once, and startLength how much of what each points to.
const (
	pointersMax = 64
	startLength = 128
)

// pointers reads pointers up to a page's end, and tells whether the one that ends them was there.
func (m *memory) pointers(tid int, addr uint64, wordSize int) (list []uint64, ended bool) {
	var buf [pointersMax * 8]byte
	room := min(len(buf), int(pageSize-addr%pageSize)) / wordSize * wordSize
	if room == 0 { // the vector is not aligned
		word, ok := m.word(tid, addr, wordSize)
		if !ok || word == 0 {
			return nil, ok
		}
		return []uint64{word}, false
	}
	got := m.at(tid, addr, buf[:room])
	for at := 0; at+wordSize <= got; at += wordSize {
		word := uint64(binary.NativeEndian.Uint32(buf[at:]))
		if wordSize == 8 {
			word = binary.NativeEndian.Uint64(buf[at:])
		}
		if word == 0 {
			return list, true
		}
		list = append(list, word)
	}
	return list, false
}

// starts reads the first bytes at each address, not across a page's end. What could not be read is empty.
func (m *memory) starts(tid int, addresses []uint64) [][]byte {
	texts := make([][]byte, len(addresses))
	buf := make([]byte, len(addresses)*startLength)
	local := []unix.Iovec{{Base: &buf[0]}}
	remote := make([]unix.RemoteIovec, len(addresses))
	total := 0
	for i, addr := range addresses {
		n := min(startLength, int(pageSize-addr%pageSize))
		remote[i] = unix.RemoteIovec{Base: uintptr(addr), Len: n}
		texts[i] = buf[total : total+n : total+n]
		total += n
	}
	local[0].SetLen(total)
	got, err := unix.ProcessVMReadv(tid, local, remote, 0)
	if err != nil {
		got = 0
	}
	for i := range texts { // what came is whole up to the first address that could not be read
		if got -= len(texts[i]); got < 0 {
			texts[i] = nil
		}
	}
	return texts
}

// link reads a link below /proc.
func (m *memory) link(name string) (string, bool) { return readlinkat(m.proc, name) }

func readlinkat(dir int, name string) (string, bool) {
	for size := 256; size <= linkMax; size *= 4 {
		buf := make([]byte, size)
		n, err := unix.Readlinkat(dir, name, buf)
		if err != nil {
			return "", false
		}
		if n < size {
			return string(buf[:n]), true
		}
	}
	return "", false
}
