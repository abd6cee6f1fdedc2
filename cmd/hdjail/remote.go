package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"syscall"

	"github.com/urfave/cli/v2"

	"hdjail/build"
	"hdjail/build/daemon/client"
)

// daemonFlags are those of `hdjail build` that are about the daemon.
func daemonFlags() []cli.Flag {
	return []cli.Flag{
		noDaemonFlag(),
		&cli.BoolFlag{Name: "detach", Usage: "leave the build to the daemon, and print the name of the job"},
	}
}

func noDaemonFlag() cli.Flag {
	return &cli.BoolFlag{Name: "no-daemon", Usage: "work without the daemon, in a store of your own"}
}

// socketPath is where the daemon is, and whether the caller said so.
func socketPath() (path string, named bool) {
	if path = os.Getenv("HDJAIL_SOCKET"); path != "" {
		return path, true
	}
	return defaultSocket, false
}

// daemon connects to the daemon, nil where there is none for this build: no socket, one that the caller may not use, or one
// of another store or prefix than the caller named.
func (a *app) daemon(c *cli.Context) (*client.Client, error) {
	if c.Bool("no-daemon") || c.Bool("dry-run") {
		return nil, nil
	}
	path, named := socketPath()
	d, err := a.dial(c.Context)
	switch {
	case !named && (errors.Is(err, syscall.EACCES) || errors.Is(err, syscall.ECONNREFUSED)):
		a.out.say("not using the daemon at %s: %v", path, rootErrno(err))
		return nil, nil
	case !named && a.storeRoot != "" && errors.As(err, new(*client.Error)):
		return nil, nil // it does not want the caller, who has a store
	case err != nil || d == nil:
		return nil, err
	}
	if a.storeRoot != "" && a.absolute(a.storeRoot) != d.Info.Store || a.prefix != "" && a.absolute(a.prefix) != d.Info.Prefix {
		return nil, nil
	}
	for _, flag := range []string{"keep-failed", "profile", "allow-degraded"} {
		if c.IsSet(flag) {
			return nil, usagef("--"+flag+" is for builds in a store of your own", "leave it out, or add --no-daemon")
		}
	}
	if d.UID != 0 && d.UID != os.Geteuid() && !named {
		return nil, usagef("the daemon's socket belongs to somebody else", "hdjail build --no-daemon")
	}
	a.out.say("using the daemon at %s, store %s; --no-daemon does without it", path, d.Info.Store)
	return d, nil
}

func rootErrno(err error) error {
	if errno := syscall.Errno(0); errors.As(err, &errno) {
		return errno
	}
	return err
}

// dial connects to the daemon; nil where there is no socket, unless the caller has named it.
func (a *app) dial(ctx context.Context) (*client.Client, error) {
	path, named := socketPath()
	d, err := client.Dial(ctx, path)
	if errors.Is(err, fs.ErrNotExist) && !named {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	a.onClose(func() error { _ = d.Close(); return nil }) // nothing is lost with it
	return d, nil
}

// build has the targets built, by the daemon if there is one; done tells that there is nothing to print.
func (a *app) build(c *cli.Context, r request) (results []build.Result, done bool, err error) {
	if c.Bool("detach") && c.String("out-link") != "" {
		return nil, true, usagef("--out-link wants a result, and --detach waits for none", "leave out one of them")
	}
	d, err := a.daemon(c)
	if err != nil {
		return nil, true, err
	}
	if d != nil {
		results, err = a.buildRemotely(c, d, r)
		return results, false, err
	}
	if c.Bool("detach") {
		return nil, true, usagef("there is no daemon to leave the build to", "leave out --detach")
	}
	p, err := a.planLocked(c, r, a.plan)
	if err != nil {
		return nil, true, err
	}
	if c.Bool("dry-run") {
		return nil, true, a.dryRun(c, p)
	}
	results, err = a.realize(c, p, c.String("profile") != "" || c.String("out-link") != "")
	return results, false, err
}
