package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"hdjail/artifact"
	"hdjail/artifact/store"
)

// listed is a line of `hdjail list`.
type listed struct {
	Realization artifact.RealizationID `json:"realization"`
	Derivation  artifact.DerivationID  `json:"derivation"`
	Name        string                 `json:"name"`
	Version     string                 `json:"version,omitempty"`
	Path        string                 `json:"path"`
	Built       time.Time              `json:"built"`
}

func listCommand(a *app) *cli.Command {
	return &cli.Command{
		Name: "list", Usage: "list the realizations in the store", UsageText: "hdjail list\nhdjail list --json | jq -r '.[].path'",
		Flags: []cli.Flag{jsonFlag()},
		Action: func(c *cli.Context) error {
			s, err := a.storeToRead()
			if err != nil {
				return err
			}
			list, err := realizations(s)
			if err != nil {
				return err
			}
			return a.out.show(c.Bool("json"), list, func() {
				for _, l := range list {
					a.out.line("%s  %s  %s %s", l.Realization, moment(l.Built), l.Name, l.Version)
				}
			})
		},
	}
}

// moment is a point in time, for people; the zone is always the same.
func moment(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }

// realizations lists what the store has, by name and then by time.
func realizations(s *store.Store) ([]listed, error) {
	entries, err := os.ReadDir(filepath.Join(s.Root(), "realizations"))
	if err != nil {
		return nil, err
	}
	list := []listed{}
	for _, e := range entries {
		id, err := artifact.ParseRealizationID(e.Name())
		if err != nil {
			continue
		}
		r, err := s.Realization(id)
		if missing := (*store.NotFoundError)(nil); errors.As(err, &missing) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		d, err := s.Derivation(r.Derivation)
		if err != nil {
			return nil, err
		}
		list = append(list, listed{id, r.Derivation, d.Name, d.Version, s.OutPath(id), r.Records[0].End.UTC()})
	}
	slices.SortFunc(list, func(x, y listed) int { return cmp.Or(cmp.Compare(x.Name, y.Name), x.Built.Compare(y.Built)) })
	return list, nil
}

// shown is what `hdjail show` knows of a derivation.
type shown struct {
	ID           artifact.DerivationID  `json:"id"`
	Path         string                 `json:"path"`
	Derivation   *artifact.Derivation   `json:"derivation"`
	Realizations []artifact.Realization `json:"realizations"`
	Records      []artifact.BuildRecord `json:"records"`
}

func showCommand(a *app) *cli.Command {
	return &cli.Command{
		Name: "show", Usage: "show a derivation with its realizations and runs", ArgsUsage: "ID|PATH|SPEC", UsageText: "hdjail show mf2x\nhdjail show --json ./result",
		Flags: []cli.Flag{jsonFlag()},
		Action: func(c *cli.Context) error {
			if c.NArg() != 1 {
				return usagef("hdjail show wants one ID, path or spec", "hdjail list shows what the store has")
			}
			s, err := a.storeToRead()
			if err != nil {
				return err
			}
			ref, err := a.resolveID(c.Context, s, c.Args().First())
			if err != nil {
				return err
			}
			found := shown{ID: ref.Derivation, Realizations: []artifact.Realization{}}
			if found.Derivation, err = s.Derivation(ref.Derivation); err != nil {
				return err
			}
			found.Path = s.PublicPath(found.Derivation)
			all, err := s.Realizations(ref.Derivation)
			for _, r := range all {
				if ref.Realization.IsZero() || ref.Realization == r.ID {
					found.Realizations = append(found.Realizations, r)
				}
			}
			if err == nil {
				found.Records, err = s.Records(ref.Derivation)
			}
			if err != nil {
				return err
			}
			return a.out.show(c.Bool("json"), found, func() { a.printShown(s, found) })
		},
	}
}

func (a *app) printShown(s *store.Store, f shown) {
	d := f.Derivation
	a.out.line("derivation  %s\nname        %s %s\nsystem      %s\npath        %s", f.ID, d.Name, d.Version, d.System, f.Path)
	for _, dep := range d.Dependencies {
		a.out.line("dependency  %s %s", dep.ID, dep.As)
	}
	for _, source := range d.Sources {
		a.out.line("source      %s %s", source.Digest, source.Target)
	}
	for _, p := range d.HostPaths {
		a.out.line("host path   %s %s", p.Path, p.Identity)
	}
	a.out.line("host        %d packages", len(d.HostPackages))
	for _, r := range f.Realizations {
		a.out.line("realization %s\n  tree      %s\n  out       %s", r.ID, r.Tree, s.OutPath(r.ID))
	}
	for _, r := range f.Records {
		outcome := "built " + r.Realization.String()
		if r.Failure != "" {
			outcome = r.Failure + ": " + escape(r.Message)
		}
		a.out.line("run %-7d %s  %s  %s", r.Number, moment(r.Start),
			r.End.Sub(r.Start).Round(time.Millisecond), outcome)
	}
}

// resolveID finds what a spec, an ID, the beginning of one, or a path means. A link to the store counts as where it leads.
func (a *app) resolveID(ctx context.Context, s *store.Store, text string) (store.Ref, error) {
	path := a.absolute(text)
	name := storeName(s, path, "")
	if target, err := filepath.EvalSymlinks(path); err == nil && name == "" {
		name = storeName(s, target, "")
	}
	if _, err := os.Stat(path); err != nil || name != "" {
		return s.ResolveID(cmp.Or(name, text))
	}
	p, err := a.plan(ctx, request{targets: []string{text}})
	if err != nil {
		return store.Ref{}, err
	}
	return store.Ref{Derivation: p.Targets[0].ID}, nil
}

func logCommand(a *app) *cli.Command {
	return &cli.Command{
		Name: "log", Usage: "print the log of a build", ArgsUsage: "[ID|PATH|SPEC]",
		UsageText:   "hdjail log\nhdjail log --failed\nhdjail log -f zlib.yaml",
		Description: "Without an argument it is the log of the last run. On a terminal, what a terminal would obey is shown as an escape.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "last", Usage: "the last run of all, the default"},
			&cli.BoolFlag{Name: "failed", Usage: "the last run that failed"},
			&cli.BoolFlag{Name: "follow", Aliases: []string{"f"}, Usage: "print what a running build prints, until it ends"},
		},
		Action: func(c *cli.Context) error {
			if c.NArg() > 1 || c.NArg() == 1 && (c.Bool("last") || c.Bool("failed")) {
				return usagef("hdjail log wants one ID, path or spec, or --last or --failed", "")
			}
			s, err := a.storeToRead()
			if err != nil {
				return err
			}
			var ref store.Ref
			if c.NArg() == 1 {
				if ref, err = a.resolveID(c.Context, s, c.Args().First()); err != nil {
					return err
				}
			}
			if c.Bool("follow") {
				if followed, err := a.follow(c.Context, s, ref.Derivation); followed || err != nil {
					return err
				}
			}
			record, err := findRecord(s, ref, c.Bool("failed"))
			if err != nil {
				return err
			}
			log, err := s.OpenLog(record)
			if err != nil {
				return err
			}
			err = errors.Join(a.out.log(log), log.Close())
			if record.Failure != "" {
				a.out.say("%s", escape(record.Message))
			}
			return err
		},
	}
}

// findRecord is the newest run of a derivation, the first of a realization, or the store's last one.
func findRecord(s *store.Store, ref store.Ref, failed bool) (artifact.BuildRecord, error) {
	if ref.Derivation.IsZero() {
		return s.LastRecord(failed)
	}
	records, err := s.Records(ref.Derivation)
	if err != nil {
		return artifact.BuildRecord{}, err
	}
	if !ref.Realization.IsZero() {
		records = slices.DeleteFunc(records, func(r artifact.BuildRecord) bool { return r.Realization != ref.Realization })
		slices.Reverse(records)
	}
	if len(records) == 0 {
		return artifact.BuildRecord{}, &store.NotFoundError{What: "log", Name: ref.Derivation.String()}
	}
	return records[len(records)-1], nil
}

// followPause is the time between two looks at a log that grows.
const followPause = 100 * time.Millisecond

// follow prints the log of a build that is running now: of the derivation, or of the only one that there is. It returns
// false at once when none is.
func (a *app) follow(ctx context.Context, s *store.Store, id artifact.DerivationID) (bool, error) {
	running, err := s.Running()
	if err != nil {
		return false, err
	}
	if id.IsZero() && len(running) == 1 {
		for only := range running {
			id = only
		}
	}
	info, found := running[id]
	if !found || info.Log == "" {
		if id.IsZero() && len(running) > 1 {
			return false, usagef(fmt.Sprintf("%d builds are running", len(running)), "name one: hdjail log -f ID")
		}
		return false, nil
	}
	file, err := os.Open(info.Log)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil // it has ended meanwhile
	}
	if err != nil {
		return false, err
	}
	defer file.Close()
	for {
		now, err := s.Locked(id)
		ended := err != nil || now.Log != info.Log
		if err := a.out.log(file); err != nil || ended {
			return true, err
		}
		select {
		case <-ctx.Done():
			return true, context.Cause(ctx)
		case <-time.After(followPause):
		}
	}
}

// log copies a build's log to standard output: as it is, or with escapes when that is a terminal.
func (o *out) log(from io.Reader) error {
	to := o.data
	if isTerminal(to) {
		to = &escaping{to: to}
	}
	_, err := io.Copy(to, from)
	return err
}
