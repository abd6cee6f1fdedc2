// Package collect turns what a build left into a canonical tree and digests it, in place. The build is over: none of its
// processes exists. Its tree may still be hostile, so it is walked by descriptors, never by paths.
//
// It decides what an output may hold. It registers nothing: that is artifact/store.
package collect

import (
	"context"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"hdjail/artifact"
	"hdjail/artifact/tree"
)

// RefusedError reports an entry that no output may hold; tree.RefusedError lists the kinds.
type RefusedError = tree.RefusedError

// Options say what belongs in an output.
type Options struct {
	// UID owns what the build made. An entry of another user, but for the caller's own, is refused.
	UID int
	// Artifact is $ARTIFACT, where the build saw the tree.
	Artifact string
	// Dependencies are the public paths of the dependencies, direct and deeper, at which the build saw them.
	Dependencies []string
	// Direct are the public names of the direct dependencies, which "../NAME" leads to from the root of the tree.
	Direct []string
	// MaxBytes bounds the content of all files together; 0 is no bound.
	MaxBytes int64
	// Allowed reports whether an absolute link may lead to the path, which is clean; nil allows none but those above.
	Allowed func(path string) bool
}

// Result is a canonical tree.
type Result struct {
	Tree  artifact.TreeDigest
	Stats tree.Stats
}

// Collect makes the tree at dir canonical and digests it. First everything in it is judged, and *RefusedError leaves the
// tree as it was, but for directories that had to be made accessible. Then files become 0444, or 0555 where the owner
// could execute them, directories 0555, all times 1970-01-01 00:00:01, and all owners the caller. ACLs, set-gid bits of
// directories and sticky bits are dropped. The root becomes 0755, so that it can be moved; who registers it seals it.
func Collect(ctx context.Context, dir string, o Options) (Result, error) {
	root, err := tree.Open(dir, true)
	if err != nil {
		return Result{}, fmt.Errorf("collect output: %w", err)
	}
	defer root.Close()
	if err := check(ctx, root, o, true); err != nil {
		return Result{}, err
	}
	// What was judged is judged again when it is taken, should anybody have changed it in between.
	after := newJudge(root, o)
	settle := settler{uid: os.Geteuid(), gid: os.Getegid()}
	digest, stats, err := tree.Digest(ctx, root, tree.Options{Unlock: true, Visit: after.entry, Settle: settle.entry})
	if err == nil {
		err = after.finish()
	}
	if err != nil {
		return Result{}, err
	}
	return Result{digest, stats}, nil
}

// Check judges the tree below root as Collect does, *RefusedError, and changes nothing.
func Check(ctx context.Context, root *os.File, o Options) error { return check(ctx, root, o, false) }

func check(ctx context.Context, root *os.File, o Options, unlock bool) error {
	j := newJudge(root, o)
	if err := tree.Walk(ctx, root, unlock, j.entry); err != nil {
		return err
	}
	return j.finish()
}

// settler makes entries canonical.
type settler struct{ uid, gid int }

func (s settler) entry(n *tree.Node) error {
	if err := s.apply(n); err != nil {
		return fmt.Errorf("make %q canonical: %w", n.Path, err)
	}
	return nil
}

func (s settler) apply(n *tree.Node) error {
	foreign := int(n.Stat.Uid) != s.uid || int(n.Stat.Gid) != s.gid
	if n.Kind == tree.Link {
		if foreign {
			if err := unix.Fchownat(n.Dir, n.Name, s.uid, s.gid, unix.AT_SYMLINK_NOFOLLOW); err != nil {
				return err
			}
		}
		return tree.SetTime(n.Dir, n.Name)
	}
	if foreign {
		if err := unix.Fchown(n.FD, s.uid, s.gid); err != nil {
			return err
		}
	}
	if err := dropACL(n.FD); err != nil {
		return err
	}
	mode := uint32(0o444)
	switch {
	case n.Path == "":
		mode = 0o755
	case n.Kind != tree.File:
		mode = 0o555
	}
	return tree.Seal(n.FD, mode)
}

// dropACL removes the access control lists of an open file or directory (acl(5)). Most have none, nor any attribute.
func dropACL(fd int) error {
	if n, err := unix.Flistxattr(fd, nil); err != nil || n == 0 {
		return nil // none, or a file system without attributes
	}
	for _, name := range []string{"system.posix_acl_access", "system.posix_acl_default"} {
		switch err := unix.Fremovexattr(fd, name); err {
		case nil, unix.ENODATA, unix.EOPNOTSUPP:
		default:
			return err
		}
	}
	return nil
}
