package dpkg

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"math"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"hdjail/hostpkgs/rootpath"
)

// claim is a line of a .list file that would make its package the owner. The lower rank wins.
type claim struct {
	line []byte
	rank int
	// only restricts the packages that count, when not empty; not excludes one.
	only, not string
}

// Owner implements hostpkgs.Database. The name has an architecture where dpkg -S would print one. It reads every file
// list, once.
func (db *Database) Owner(ctx context.Context, name string) (string, bool, error) {
	diverted, err := db.diversions()
	if err != nil {
		return "", false, err
	}
	if !path.IsAbs(name) {
		return "", false, fmt.Errorf("find owner of %q: not an absolute path", name)
	}
	var claims []claim
	names := rootpath.OnHost(db.root)
	for rank, real := range names.Chain(name) {
		for _, spelling := range db.spellings(real, names) {
			claims = append(claims, diverted.claims(spelling, rank)...)
		}
	}
	owner, err := db.scan(ctx, claims)
	if err != nil {
		return "", false, fmt.Errorf("find owner of %q: %w", name, err)
	}
	return owner, owner != "", nil
}

// spellings returns the ways a package may have spelled a real path: the path, and through links of the root folder.
func (db *Database) spellings(real string, resolver *rootpath.Resolver) []string {
	names := []string{real}
	entries, _ := os.ReadDir(db.root)
	for _, e := range entries {
		if e.Type()&os.ModeSymlink == 0 {
			continue
		}
		link := "/" + e.Name()
		if rest, ok := strings.CutPrefix(real, resolver.Follow(link).Path+"/"); ok {
			names = append(names, path.Join(link, rest))
		}
	}
	return names
}

func (d diversions) claims(name string, rank int) []claim {
	if v, ok := d.to[name]; ok {
		return []claim{{line: line(v.From), rank: rank, not: v.By}, {line: line(name), rank: rank}}
	}
	if v, ok := d.from[name]; ok {
		return []claim{{line: line(name), rank: rank, only: v.By}}
	}
	return []claim{{line: line(name), rank: rank}}
}

// line returns name as it stands in a list; the first line of every list is "/.", so each name follows a newline.
func line(name string) []byte { return []byte("\n" + name + "\n") }

// scan returns the package with the claim of the lowest rank, of several the first by name, or "".
func (db *Database) scan(ctx context.Context, claims []claim) (string, error) {
	lists, err := filepath.Glob(db.admin("info", "*.list"))
	if err != nil {
		return "", err
	}
	workers := min(runtime.GOMAXPROCS(0), 8)
	group, ctx := errgroup.WithContext(ctx)
	ranks := make([]int, len(lists))
	for w := range workers {
		group.Go(func() error {
			for i := w; i < len(lists); i += workers {
				data, err := os.ReadFile(lists[i])
				if err != nil || ctx.Err() != nil {
					return cmp.Or(err, ctx.Err())
				}
				ranks[i] = lowest(claims, data, packageOf(lists[i]))
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return "", err
	}
	if len(ranks) == 0 {
		return "", nil
	}
	best := slices.Index(ranks, slices.Min(ranks))
	if ranks[best] == unclaimed {
		return "", nil
	}
	return packageOf(lists[best]), nil
}

// unclaimed is the rank of no claim.
const unclaimed = math.MaxInt

// lowest returns the rank of the best claim that a list supports.
func lowest(claims []claim, list []byte, pkg string) int {
	bare, _, _ := strings.Cut(pkg, ":")
	rank := unclaimed
	for _, c := range claims {
		if c.rank >= rank || c.only != "" && c.only != bare || c.not != "" && c.not == bare {
			continue
		}
		if bytes.Contains(list, c.line) {
			rank = c.rank
		}
	}
	return rank
}

func packageOf(list string) string { return strings.TrimSuffix(filepath.Base(list), ".list") }
