package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"hdjail/artifact"
	"hdjail/artifact/store"
)

func logCommand(a *app) *cli.Command {
	return &cli.Command{
		Name: "log", Usage: "print the log of a build", ArgsUsage: "[ID|PATH|SPEC]",
		UsageText:   "hdjail log\nhdjail log --failed\nhdjail log -f zlib.yaml",
		Description: "Without an argument it is the log of the last run. On a terminal, what a terminal would obey is shown as an escape.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "last", Usage: "the last run of all, the default"},
			&cli.BoolFlag{Name: "failed", Usage: "the last run that failed"},
			&cli.BoolFlag{Name: "follow", Aliases: []string{"f"}, Usage: "print what a running build prints, until it ends"},
			jsonFlag(),
		},
		Action: a.printLog,
	}
}

// logged is what `hdjail log --json` prints of a run. Failure is its kind, and empty for a run that gave a realization.
type logged struct {
	Derivation  artifact.DerivationID  `json:"derivation"`
	Name        string                 `json:"name"`
	Version     string                 `json:"version,omitempty"`
	Number      int                    `json:"number"`
	Purpose     string                 `json:"purpose"`
	Outcome     string                 `json:"outcome"`
	Failure     string                 `json:"failure,omitempty"`
	Message     string                 `json:"message,omitempty"`
	Exit        int                    `json:"exit"`
	Start       time.Time              `json:"start"`
	End         time.Time              `json:"end"`
	Realization artifact.RealizationID `json:"realization,omitzero"`
	// Log has the lines without their ends. Bytes that are not UTF-8 become U+FFFD.
	Log []string `json:"log"`
}

func (a *app) printLog(c *cli.Context) error {
	if c.NArg() > 1 || c.NArg() == 1 && (c.Bool("last") || c.Bool("failed")) {
		return usagef("hdjail log wants one ID, path or spec, or --last or --failed", "")
	}
	if c.Bool("follow") && c.Bool("json") {
		return usagef("--json prints the log of a run that has ended, and --follow of one that runs", "leave out one of them")
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
	if c.Bool("json") {
		found, err := logOf(s, record, log)
		if err := errors.Join(err, log.Close()); err != nil {
			return err
		}
		return a.out.json(found)
	}
	err = errors.Join(a.out.log(log), log.Close())
	if record.Failure != "" {
		a.out.say("%s", escape(record.Message))
	}
	return err
}

// logOf is a run with its whole log.
func logOf(s *store.Store, record artifact.BuildRecord, log io.Reader) (logged, error) {
	d, err := s.Derivation(record.Derivation)
	if err != nil {
		return logged{}, err
	}
	text, err := io.ReadAll(log)
	if err != nil {
		return logged{}, fmt.Errorf("read log: %w", err)
	}
	found := logged{Derivation: record.Derivation, Name: d.Name, Version: d.Version, Number: record.Number, Purpose: record.Purpose,
		Outcome: "built", Failure: record.Failure, Message: record.Message, Exit: record.Exit, Start: record.Start, End: record.End,
		Realization: record.Realization, Log: []string{}}
	if record.Failure != "" {
		found.Outcome = "failed"
	}
	for line := range strings.Lines(string(text)) {
		found.Log = append(found.Log, strings.TrimSuffix(line, "\n"))
	}
	return found, nil
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
