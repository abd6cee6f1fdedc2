package fusefs

import (
	"context"
	"sync/atomic"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// node is a file or directory.
type node struct {
	*fs.LoopbackNode
	of      *FS
	written atomic.Bool
}

// WrapChild implements fs.NodeWrapChilder: what is below a node is one, too.
func (n *node) WrapChild(_ context.Context, child fs.InodeEmbedder) fs.InodeEmbedder {
	return &node{LoopbackNode: child.(*fs.LoopbackNode), of: n.of}
}

// coarse cuts times to two seconds, as FAT does; NFS servers and Lustre cut them, too, to less.
func coarse(a *fuse.Attr) {
	a.Atime, a.Mtime, a.Ctime = a.Atime&^1, a.Mtime&^1, a.Ctime&^1
	a.Atimensec, a.Mtimensec, a.Ctimensec = 0, 0, 0
}

func (n *node) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	child, errno := n.LoopbackNode.Lookup(ctx, name, out)
	coarse(&out.Attr)
	return child, errno
}

func (n *node) Getattr(ctx context.Context, f fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	errno := n.LoopbackNode.Getattr(ctx, f, out)
	coarse(&out.Attr)
	return errno
}

func (n *node) Setattr(ctx context.Context, f fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	if errno := n.of.change("setattr", ""); errno != 0 {
		return errno
	}
	errno := n.LoopbackNode.Setattr(ctx, f, in, out)
	coarse(&out.Attr)
	return errno
}

func (n *node) Create(ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	if errno := n.of.change("create", name); errno != 0 {
		return nil, nil, 0, errno
	}
	child, f, more, errno := n.LoopbackNode.Create(ctx, name, flags, mode, out)
	coarse(&out.Attr)
	return child, f, more, errno
}

func (n *node) Mkdir(ctx context.Context, name string, mode uint32, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	if errno := n.of.change("mkdir", name); errno != 0 {
		return nil, errno
	}
	child, errno := n.LoopbackNode.Mkdir(ctx, name, mode, out)
	coarse(&out.Attr)
	return child, errno
}

func (n *node) Symlink(ctx context.Context, target, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	if errno := n.of.change("symlink", name); errno != 0 {
		return nil, errno
	}
	child, errno := n.LoopbackNode.Symlink(ctx, target, name, out)
	coarse(&out.Attr)
	return child, errno
}

func (n *node) Mknod(ctx context.Context, name string, mode, dev uint32, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	if errno := n.of.change("create", name); errno != 0 {
		return nil, errno
	}
	child, errno := n.LoopbackNode.Mknod(ctx, name, mode, dev, out)
	coarse(&out.Attr)
	return child, errno
}

func (n *node) Unlink(ctx context.Context, name string) syscall.Errno {
	if errno := n.of.change("unlink", name); errno != 0 {
		return errno
	}
	return n.LoopbackNode.Unlink(ctx, name)
}

func (n *node) Rmdir(ctx context.Context, name string) syscall.Errno {
	if errno := n.of.change("rmdir", name); errno != 0 {
		return errno
	}
	return n.LoopbackNode.Rmdir(ctx, name)
}

// Rename refuses flags, as NFS does.
func (n *node) Rename(ctx context.Context, name string, parent fs.InodeEmbedder, newName string, flags uint32) syscall.Errno {
	if flags != 0 {
		return syscall.EINVAL
	}
	if errno := n.of.change("rename", newName); errno != 0 {
		return errno
	}
	return n.LoopbackNode.Rename(ctx, name, parent, newName, flags)
}

func (n *node) Write(ctx context.Context, f fs.FileHandle, data []byte, off int64) (uint32, syscall.Errno) {
	n.written.Store(true)
	if errno := n.of.change("write", ""); errno != 0 {
		return 0, errno
	}
	return f.(fs.FileWriter).Write(ctx, data, off)
}

func (n *node) Flush(ctx context.Context, f fs.FileHandle) syscall.Errno {
	if n.written.Load() {
		if errno := n.of.change("close", ""); errno != 0 {
			return errno
		}
	}
	return f.(fs.FileFlusher).Flush(ctx)
}

func (n *node) Fsync(ctx context.Context, f fs.FileHandle, flags uint32) syscall.Errno {
	if errno := n.of.change("sync", ""); errno != 0 {
		return errno
	}
	if file, ok := f.(fs.FileFsyncer); ok {
		return file.Fsync(ctx, flags)
	}
	return 0
}

func (n *node) Allocate(ctx context.Context, f fs.FileHandle, off, size uint64, mode uint32) syscall.Errno {
	return syscall.EOPNOTSUPP
}

// What follows is refused.

func (n *node) Link(context.Context, fs.InodeEmbedder, string, *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	return nil, syscall.EPERM // link(2): the file system does not support hard links
}

func (n *node) Tmpfile(context.Context, uint32, uint32, *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	return nil, nil, 0, syscall.EOPNOTSUPP
}

func (n *node) CopyFileRange(context.Context, fs.FileHandle, uint64, *fs.Inode, fs.FileHandle, uint64, uint64, uint64) (uint32, syscall.Errno) {
	return 0, syscall.EOPNOTSUPP
}

func (n *node) Getxattr(context.Context, string, []byte) (uint32, syscall.Errno) {
	return 0, syscall.EOPNOTSUPP
}

func (n *node) Setxattr(context.Context, string, []byte, uint32) syscall.Errno {
	return syscall.EOPNOTSUPP
}

func (n *node) Removexattr(context.Context, string) syscall.Errno { return syscall.EOPNOTSUPP }

func (n *node) Listxattr(context.Context, []byte) (uint32, syscall.Errno) {
	return 0, syscall.EOPNOTSUPP
}

func (n *node) Getlk(context.Context, fs.FileHandle, uint64, *fuse.FileLock, uint32, *fuse.FileLock) syscall.Errno {
	return syscall.ENOLCK
}

func (n *node) Setlk(context.Context, fs.FileHandle, uint64, *fuse.FileLock, uint32) syscall.Errno {
	return syscall.ENOLCK
}

func (n *node) Setlkw(context.Context, fs.FileHandle, uint64, *fuse.FileLock, uint32) syscall.Errno {
	return syscall.ENOLCK
}
