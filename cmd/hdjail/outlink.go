package main

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"

	"github.com/urfave/cli/v2"

	"hdjail/artifact/store"
	"hdjail/build"
)

// outLink makes or replaces a symbolic link, in one step, and then its record in the store.
func (a *app) outLink(c *cli.Context, r build.Result) error {
	link := a.absolute(c.String("out-link"))
	if info, err := os.Lstat(link); err == nil && info.Mode()&os.ModeSymlink == 0 {
		return usagef("--out-link "+quote(link)+" exists and is no symbolic link", "")
	}
	b := build.Builder{Store: a.openStore}
	temporary := filepath.Join(filepath.Dir(link), "."+filepath.Base(link)+"-"+strconv.Itoa(os.Getpid()))
	target := b.Paths(r)[0]
	if err := os.Symlink(target, temporary); err != nil {
		return err
	}
	if err := os.Rename(temporary, link); err != nil {
		return errors.Join(err, os.Remove(temporary))
	}
	root := store.Root{Kind: store.Link, Name: link, Realization: r.Realizations[0].ID, Target: target}
	return a.keepLink(c, root)
}

// keepLink records what a link keeps. In a daemon's store only its owner can do that, since a record keeps what it names.
func (a *app) keepLink(c *cli.Context, root store.Root) error {
	s := a.openStore
	if a.served {
		var err error
		s, err = store.Open(s.Root(), store.Options{Now: a.now, Prefix: s.Prefix()})
		if denied := (*store.AccessError)(nil); errors.As(err, &denied) {
			a.out.warn("%s keeps nothing from being collected, since the daemon's store is not yours; its owner can: hdjail pin %s", escape(root.Name), root.ID())
			return nil
		}
		if err != nil {
			return err
		}
		a.onClose(s.Close)
	}
	return s.AddRoot(c.Context, root, a.rootsWait(c))
}
