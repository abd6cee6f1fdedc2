package fusefs

import (
	"fmt"
	"math"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// Change is one operation that is about to change the file system, or to bring changes where they last. Name is the last
// part of its path, empty for one on an open file. A file that was not written to is closed without one.
type Change struct {
	Op, Name string
}

// grows reports whether the operation may take space; on a network file system that may be noticed late.
func (c Change) grows() bool {
	switch c.Op {
	case "create", "mkdir", "symlink", "write", "rename", "close", "sync":
		return true
	}
	return false
}

// FS is a file system that is mounted.
type FS struct {
	server *fuse.Server
	before atomic.Pointer[func(Change) syscall.Errno]
}

// Mount shows the directory backing at the directory at, to all users. The caller calls Unmount.
func Mount(backing, at string) (*FS, error) {
	f := &FS{}
	root := &fs.LoopbackRoot{Path: backing}
	var st syscall.Stat_t
	if err := syscall.Stat(backing, &st); err != nil {
		return nil, fmt.Errorf("mount %q: %w", at, err)
	}
	root.Dev = uint64(st.Dev)
	top := &node{LoopbackNode: &fs.LoopbackNode{RootData: root}, of: f}
	root.RootNode = top
	second := time.Second
	server, err := fs.Mount(at, top, &fs.Options{EntryTimeout: &second, AttrTimeout: &second, MountOptions: fuse.MountOptions{
		DirectMountStrict: true, AllowOther: true, EnableLocks: true, FsName: "hdjail-test", Name: "plain", Options: []string{"default_permissions"},
	}})
	if err != nil {
		return nil, fmt.Errorf("mount %q: %w", at, err)
	}
	f.server = server
	return f, nil
}

// Unmount ends it.
func (f *FS) Unmount() error { return f.server.Unmount() }

// Before has look called before every change; an error that it returns is the change's. It may be called by several
// goroutines at once. Nil is nobody.
func (f *FS) Before(look func(Change) syscall.Errno) {
	if look == nil {
		f.before.Store(nil)
		return
	}
	f.before.Store(&look)
}

// Fail makes everything that needs space fail with errno after n such operations, as many times as it is told. It returns a
// function that tells how many there were.
func (f *FS) Fail(n, times int64, errno syscall.Errno) (count func() int64) {
	var done atomic.Int64
	f.Before(func(c Change) syscall.Errno {
		if !c.grows() {
			return 0
		}
		if now := done.Add(1); now > n && now-n <= times {
			return errno
		}
		return 0
	})
	return done.Load
}

// Fill is Fail without an end, as on a file system that is full.
func (f *FS) Fill(n int64, errno syscall.Errno) (count func() int64) {
	return f.Fail(n, math.MaxInt64, errno)
}

func (f *FS) change(op, name string) syscall.Errno {
	if look := f.before.Load(); look != nil {
		return (*look)(Change{op, name})
	}
	return 0
}
