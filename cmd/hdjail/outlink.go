package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/urfave/cli/v2"

	"hdjail/artifact/store"
	"hdjail/build"
)

// checkOutLink finds before a build what would keep its result from being linked.
func (a *app) checkOutLink(c *cli.Context, r request) error {
	for _, name := range []string{"out-link", "profile"} {
		if c.IsSet(name) && c.String(name) == "" {
			return usagef("--"+name+" is empty", "give a name, or leave it out")
		}
	}
	switch {
	case !c.IsSet("out-link"):
		return nil
	case len(r.targets) > 1:
		return usagef("--out-link is for one target", "leave it out, or link several into a profile")
	}
	return vacant(a.absolute(c.String("out-link")))
}

// vacant gives an error if a link cannot be made, or replaced, at a path.
func vacant(link string) error {
	if info, err := os.Stat(filepath.Dir(link)); err != nil || !info.IsDir() {
		return usagef("--out-link "+quote(link)+": there is no directory "+quote(filepath.Dir(link)), "make it first, or link elsewhere")
	}
	if info, err := os.Lstat(link); err == nil && info.Mode()&os.ModeSymlink == 0 {
		return usagef("--out-link "+quote(link)+" exists and is no symbolic link", "move it away, or link elsewhere")
	}
	return nil
}

// oneToLink refuses several results, of which a link could lead to one only. What a matcher selects is known after the build.
func oneToLink(results []build.Result) error {
	n := 0
	for _, r := range results {
		n += len(r.Realizations)
	}
	if n != 1 {
		return usagef(fmt.Sprintf("%d realizations are selected, and --out-link takes one", n), "choose with --match")
	}
	return nil
}

// outLink makes or replaces a symbolic link, in one step, and then its record in the store.
func (a *app) outLink(c *cli.Context, r build.Result) error {
	link := a.absolute(c.String("out-link"))
	if err := vacant(link); err != nil { // it may have come meanwhile
		return err
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
