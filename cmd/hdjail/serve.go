package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/urfave/cli/v2"
	"golang.org/x/sync/errgroup"

	"hdjail/artifact"
	"hdjail/artifact/tree"
	"hdjail/build"
	"hdjail/build/daemon"
	"hdjail/build/daemon/metrics"
	"hdjail/build/daemon/rules"
	"hdjail/build/daemon/sitelog"
	"hdjail/build/daemon/wire"
	"hdjail/build/plan"
	"hdjail/hostpkgs"
	"hdjail/policies"
)

// Where a daemon is unless it is told otherwise.
const (
	defaultSocket  = "/run/hdjail/hdjail.sock"
	defaultSiteLog = "/var/log/hdjail/site.log"
)

func serveCommand(a *app) *cli.Command {
	return &cli.Command{
		Name: "serve", Usage: "build for other users: the daemon", UsageText: "hdjail serve --group hdjail-users\nsystemctl enable --now hdjaild.socket",
		Description: "It listens on a Unix socket only: the one that systemd hands it, or --socket. Who may use it, and how much, stands in the\n" +
			"policy of the site under daemon:, see docs/admin.md. It runs until SIGTERM or SIGINT, which end its builds.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "socket", Value: defaultSocket, Usage: "listen at `PATH`, if systemd hands over no socket"},
			&cli.StringFlag{Name: "group", Usage: "let only members of `GROUP` connect, and to the socket of the metrics"},
			&cli.StringFlag{Name: "site-policy", Value: siteFile, Usage: "obey `FILE`, which may be missing if it is the default"},
			&cli.StringFlag{Name: "site-log", Value: defaultSiteLog, Usage: "append who had what built to `FILE`"},
			&cli.StringFlag{Name: "metrics-file", Usage: "write metrics for Prometheus to `FILE`, every 15 seconds"},
			&cli.StringFlag{Name: "metrics-socket", Usage: "answer GET /metrics on the Unix socket `PATH`"},
		},
		Action: a.serve,
	}
}

// serve opens everything, then answers until it is told to stop.
func (a *app) serve(c *cli.Context) error {
	site, err := a.readSite(c.String("site-policy"), c.String("site-policy") == siteFile)
	if err != nil {
		return err
	}
	a.uids, a.offline, a.home = site.Daemon.UIDs, !site.Daemon.Fetch, ""
	if err := os.Unsetenv("HDJAIL_SITE_POLICY"); err != nil { // --site-policy says it
		return err
	}
	runner, err := a.runner(policies.ModeHide) // may start this process over, so it comes first
	if err != nil {
		return err
	}
	config, err := a.daemonConfig(site)
	if err != nil {
		return err
	}
	config.Builder.Runner = runner
	config.LogName = a.absolute(c.String("site-log"))
	if config.Log, err = openSiteLog(config.LogName, a); err != nil {
		return err
	}
	a.onClose(config.Log.Close)
	server, err := daemon.New(config)
	if err != nil {
		return err
	}
	group := -1
	if name := c.String("group"); name != "" {
		if group, err = groupID(name); err != nil {
			return usagef(err.Error(), "make it: groupadd --system "+name)
		}
	}
	l, err := listener(a.absolute(c.String("socket")), group)
	if err != nil {
		return err
	}
	return a.serveOn(c, serving{server, l, config.Metrics, group})
}

// serving is a daemon that is ready.
type serving struct {
	server  *daemon.Server
	l       *net.UnixListener
	metrics *metrics.Set
	group   int
}

func (a *app) serveOn(c *cli.Context, s serving) error {
	ctx, stop := context.WithCancel(c.Context)
	defer stop()
	var group errgroup.Group
	wait := func() {}
	if name := c.String("metrics-file"); name != "" {
		var err error
		if wait, err = s.metrics.Keep(ctx, a.absolute(name), func(err error) { a.out.warn("%v", err) }); err != nil {
			return errors.Join(err, s.l.Close())
		}
	}
	if name := c.String("metrics-socket"); name != "" {
		l, err := daemon.Listen(a.absolute(name), s.group)
		if err != nil {
			return errors.Join(err, s.l.Close())
		}
		group.Go(func() error { return s.metrics.Serve(ctx, l) })
	}
	a.out.say("hdjail serves %s at %s", a.openStore.Root(), s.l.Addr())
	err := s.server.Serve(ctx, s.l)
	stop()
	wait()
	return errors.Join(err, group.Wait())
}

// readSite reads the policy of a site; optional tells that there may be none.
func (a *app) readSite(name string, optional bool) (site policies.Site, err error) {
	text, err := os.ReadFile(a.absolute(name))
	if errors.Is(err, fs.ErrNotExist) && optional {
		return site, nil
	}
	if err == nil {
		site, err = policies.ParseSite(text)
	}
	if err != nil {
		return site, fmt.Errorf("read the policy of the site %q: %w", name, err)
	}
	return site, nil
}

// daemonConfig puts together what the daemon works with, but for its jails and its log. Nothing of the environment gets in.
func (a *app) daemonConfig(site policies.Site) (daemon.Config, error) {
	b, err := a.builder()
	if err != nil {
		return daemon.Config{}, err
	}
	if b.Recorder, err = a.recorder(); err != nil {
		return daemon.Config{}, err
	}
	b.Recorder.Rules = append(policies.ShippedRules(), site.Rules("")...)
	digests := plan.DigestCache{Dir: filepath.Join(a.openStore.HostDir(), "paths"), Compute: digestHostPath, Now: a.now}
	decide, err := rules.New(site, rules.Options{UID: os.Geteuid(), Prefix: a.openStore.Prefix(), System: system(), User: userID, Group: groupID,
		HostIdentity: func(path string, declared bool) (string, error) { return hostIdentity(path, declared, digests.Digest) }})
	if err != nil {
		return daemon.Config{}, fmt.Errorf("read the policy of the site: %w", err)
	}
	places, queued := site.Daemon.Running, site.Daemon.Queued
	if places == 0 {
		places = a.processors
	}
	if queued == 0 {
		queued = 10000
	}
	packages, err := a.hostConfig()
	if err != nil {
		return daemon.Config{}, err
	}
	packages.Progress = nil
	host := &daemon.Fresh{Open: func() (plan.HostPackages, error) { return hostpkgs.New(packages) }}
	return daemon.Config{Builder: *b, Host: host, Sources: a.openSource, Rules: decide, System: system(), Places: places, Queued: queued,
		Explain: a.explainToClient, Metrics: &metrics.Set{}}, nil
}

// hostIdentity is what a whitelisted path is, if nobody can replace it between this and its mount.
func hostIdentity(path string, declared bool, digest func(context.Context, string) (artifact.TreeDigest, error)) (string, error) {
	dir, err := tree.OpenTrusted(filepath.Dir(path), tree.Trust{})
	if err == nil {
		err = dir.Close()
	}
	if err != nil {
		return "", err
	}
	if declared {
		digest = func(context.Context, string) (artifact.TreeDigest, error) { return artifact.TreeDigest{}, nil }
	}
	return plan.HostIdentity(context.Background(), path, digest)
}

// explainToClient is what a client prints of an error. Its user has to name the store, and cannot enter its jails.
func (a *app) explainToClient(err error) wire.Problem {
	p := diagnose(err)
	w := wire.Problem{Code: p.Code, Exit: p.Exit, Text: p.Text, Details: p.Details, Help: p.Help}
	if failure := (*build.Failure)(nil); errors.As(err, &failure) {
		w.Help = []string{"log: hdjail log --store " + a.openStore.Root() + " " + failure.ID.String(),
			"hdjail build --no-daemon --keep-failed builds it in a store of your own, where hdjail shell --failed can enter its jail"}
		w.Help = append(w.Help, rememberedHelp(failure)...)
	}
	return w
}

// openSiteLog makes the log's directory, too.
func openSiteLog(name string, a *app) (*sitelog.Log, error) {
	dir, err := tree.OpenTrusted(filepath.Dir(name), tree.Trust{Create: true})
	if err == nil {
		err = dir.Close()
	}
	if err != nil {
		return nil, err
	}
	return sitelog.Open(name, a.now, nil)
}

// listener is the socket that systemd hands over, or a new one.
func listener(path string, group int) (*net.UnixListener, error) {
	files := activation.Files(true)
	if len(files) == 0 {
		return daemon.Listen(path, group)
	}
	defer func() {
		for _, f := range files {
			f.Close() // the listener has a copy
		}
	}()
	l, err := net.FileListener(files[0])
	if err != nil {
		return nil, fmt.Errorf("take the socket of systemd: %w", err)
	}
	unixListener, ok := l.(*net.UnixListener)
	if !ok {
		return nil, errors.Join(errors.New("take the socket of systemd: it is no Unix socket, and the daemon listens on no other"), l.Close())
	}
	unixListener.SetUnlinkOnClose(false)
	return unixListener, nil
}

func userID(name string) (int, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(u.Uid)
}

func groupID(name string) (int, error) {
	g, err := user.LookupGroup(name)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(g.Gid)
}
