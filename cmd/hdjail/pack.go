package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/urfave/cli/v2"

	"hdjail/artifact"
	"hdjail/artifact/pack"
	"hdjail/artifact/store"
	"hdjail/artifact/tree"
)

func packCommand(a *app) *cli.Command {
	return &cli.Command{
		Name: "pack", Usage: "write results with all that they were built with into an archive", ArgsUsage: "ID|PATH|SPEC...",
		UsageText: "hdjail pack mf2x -o zlib.hdpack\nhdjail pack plot.yaml --have theirs.txt -o new.hdpack\nhdjail pack mf2x | ssh other hdjail unpack -",
		Description: "A realization brings what it was built with; a derivation or a spec all its realizations. --have leaves out what the\n" +
			"other side has: another archive, a store, or a file with a realization's ID in each line, as hdjail list prints them.",
		Flags: append(selectionFlags(),
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write the archive to `FILE`, - is standard output", Value: "-"},
			&cli.StringFlag{Name: "have", Usage: "leave out what `FILE|STORE` has"}),
		Action: func(c *cli.Context) error {
			output := c.String("output")
			if output == "-" && isTerminal(a.out.data) {
				return usagef("an archive is nothing for a terminal", "name a file: -o FILE")
			}
			have, err := a.have(c.Context, c.String("have"))
			if err != nil {
				return err
			}
			selection, err := a.selection(c, have)
			if err != nil {
				return err
			}
			if err := a.writeFile(output, func(to io.Writer) error { return selection.Write(c.Context, to) }); err != nil {
				return err
			}
			h := selection.Header
			a.out.say("packed %s, %s, left out %d", count(len(h.Realizations), "realization"), count(len(h.Derivations), "derivation"), len(h.Omitted))
			return nil
		},
	}
}

// selectionFlags say what goes along.
func selectionFlags() []cli.Flag {
	return []cli.Flag{&cli.BoolFlag{Name: "sources", Usage: "take what it was built from along, too, but for git commits"}}
}

// selection is what the arguments name in the store, less what the other side has.
func (a *app) selection(c *cli.Context, have func(artifact.RealizationID) bool) (*pack.Selection, error) {
	if c.NArg() == 0 {
		return nil, usagef("hdjail "+c.Command.Name+" wants an ID, path or spec", "hdjail list shows what the store has")
	}
	s, err := a.storeToRead()
	if err != nil {
		return nil, err
	}
	request := pack.Request{Have: have, Sources: c.Bool("sources")}
	for _, text := range c.Args().Slice() {
		ref, err := a.resolveID(c.Context, s, text)
		if err != nil {
			return nil, err
		}
		request.Roots = append(request.Roots, ref)
	}
	selection, err := a.leasedSelection(c, s, request)
	if err != nil {
		return nil, err
	}
	for _, name := range selection.Unbuilt {
		a.out.warn("%s has no realization yet, only its derivation goes along", name)
	}
	return selection, nil
}

// leasedSelection is the selection, of which no collection removes anything before this process ends. Who may only read the store
// keeps nothing; if something goes before it is packed, that is an error.
func (a *app) leasedSelection(c *cli.Context, s *store.Store, r pack.Request) (*pack.Selection, error) {
	selection, err := pack.Select(c.Context, s, r)
	if err != nil {
		return nil, err
	}
	writable, err := a.storeAt(s.Root(), store.Options{Now: a.now})
	if errors.As(err, new(*store.AccessError)) || errors.As(err, new(*tree.AncestorError)) {
		return selection, nil
	}
	if err != nil {
		return nil, err
	}
	h := selection.Header
	held, err := writable.Lease(c.Context, store.Use{Purpose: "pack", Derivations: h.Derivations, Realizations: h.Realizations, Sources: h.Sources}, a.rootsWait(c))
	if err != nil {
		return nil, err
	}
	a.onClose(held.Release)
	return pack.Select(c.Context, s, r) // a collection that was under way is over now
}

// have reads what --have names.
func (a *app) have(ctx context.Context, text string) (func(artifact.RealizationID) bool, error) {
	if text == "" {
		return nil, nil
	}
	path := a.absolute(text)
	if isDirectory(path) {
		s, err := a.storeAt(path, store.Options{ReadOnly: true, Now: a.now})
		if err != nil {
			return nil, err
		}
		return s.Has, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	ids, err := pack.ReadHave(ctx, f)
	if err != nil {
		return nil, fmt.Errorf("read %q: %w", text, err)
	}
	return func(id artifact.RealizationID) bool { return ids[id] }, nil
}

// count is a number with its noun.
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
