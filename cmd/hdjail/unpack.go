package main

import (
	"os"

	"github.com/urfave/cli/v2"

	"hdjail/artifact"
	"hdjail/artifact/pack"
	"hdjail/artifact/store"
	"hdjail/build/spec"
)

func unpackCommand(a *app) *cli.Command {
	return &cli.Command{
		Name: "unpack", Usage: "take the results in an archive into the store", ArgsUsage: "FILE|-",
		UsageText: "hdjail unpack zlib.hdpack\nssh other hdjail pack mf2x | hdjail unpack -\nhdjail unpack --prefix /var/lib/hdjail --store here zlib.hdpack",
		Description: "Prints the path of each result that the archive was made for. Everything is compared with its digests before anything\n" +
			"appears in the store. Only a store with the same prefix can take it; see --prefix.",
		Flags: []cli.Flag{jsonFlag(),
			&cli.StringFlag{Name: "max-bytes", Usage: "accept an archive that unpacks to `SIZE`, however small it is itself", DefaultText: "64GiB, and 1000 times its own size"}},
		Action: func(c *cli.Context) error {
			if c.NArg() != 1 {
				return usagef("hdjail unpack wants one archive", "write - for standard input")
			}
			o := pack.Options{}
			if text := c.String("max-bytes"); text != "" {
				n, ok := spec.ParseSize(text)
				if !ok {
					return usagef("--max-bytes is "+quote(text)+", which is no size", "write 500MB or 100GiB")
				}
				o.MaxBytes = int64(n)
			}
			s, err := a.store()
			if err != nil {
				return err
			}
			from := a.stdin
			if name := c.Args().First(); name != "-" {
				if from, err = os.Open(a.absolute(name)); err != nil {
					return err
				}
				defer from.Close()
			}
			result, err := pack.Unpack(c.Context, s, from, o)
			if err != nil {
				return err
			}
			return a.arrived(s, result, c.Bool("json"))
		},
	}
}

// arrival is a result that arrived, as it is printed.
type arrival struct {
	Name        string                 `json:"name"`
	Version     string                 `json:"version"`
	Derivation  artifact.DerivationID  `json:"derivation"`
	Realization artifact.RealizationID `json:"realization"`
	Path        string                 `json:"path"`
}

// arrived prints where the results are that somebody asked for.
func (a *app) arrived(s *store.Store, result pack.Result, asJSON bool) error {
	for _, id := range result.Results {
		path := s.OutPath(id)
		if !asJSON {
			a.out.line("%s", path)
			continue
		}
		r, err := s.Realization(id)
		if err != nil {
			return err
		}
		d, err := s.Derivation(r.Derivation)
		if err != nil {
			return err
		}
		if err := a.out.jsonLine(arrival{d.Name, d.Version, r.Derivation, id, path}); err != nil {
			return err
		}
	}
	a.out.say("%s new, %d known", count(result.New, "realization"), result.Known)
	return nil
}
