package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"
)

const (
	treeFiles = 6000
	treeBytes = 280 << 20
)

// makeTree writes a tree of many files in 60 directories, of sizes from nothing to four times the mean, the same each time.
func (b *bench) makeTree() (string, error) {
	tree := filepath.Join(b.dir, "tree")
	if _, err := os.Lstat(tree); !errors.Is(err, fs.ErrNotExist) {
		return tree, err
	}
	random := rand.New(rand.NewPCG(1, 2))
	content := make([]byte, 4*treeBytes/treeFiles)
	for i := range content {
		content[i] = byte(random.Uint32())
	}
	for i := range treeFiles {
		dir := filepath.Join(tree, fmt.Sprintf("lib%d", i%60))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return "", err
		}
		// The square of an even distribution over 0..1 has the mean 1/3; 3/4 of it is a quarter of the longest file.
		share := random.Float64()
		content[0], content[1] = byte(i), byte(i>>8)
		size := int(share * share * 0.75 * float64(len(content)))
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("file%d", i)), content[:size], 0o644); err != nil {
			return "", err
		}
	}
	return tree, nil
}

// registration reads hdjail's events and returns the time between the end of the script and the registered result.
func registration(events string) (time.Duration, error) {
	file, err := os.Open(events)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	var ended, registered time.Time
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		var event struct {
			Time         time.Time
			Event, Phase string
		}
		if err := json.Unmarshal(lines.Bytes(), &event); err != nil {
			return 0, fmt.Errorf("parse %q: %w", events, err)
		}
		switch {
		case event.Event == "build.phase" && event.Phase == "check":
			ended = event.Time
		case event.Event == "build.done":
			registered = event.Time
		}
	}
	if ended.IsZero() || registered.IsZero() {
		return 0, fmt.Errorf("read %q: no events for the end of the script and of the build", events)
	}
	return registered.Sub(ended), lines.Err()
}

// treeSpec is a build that puts a copy of the tree into its artifact; round makes each one another build.
func treeSpec(tree string, round int) string {
	return fmt.Sprintf("hdjail: 1\nname: tree\nversion: %q\nhost:\n  packages: [coreutils, dash]\n  paths: [%s]\n"+
		"script: cp -R %s/. \"$ARTIFACT\"\n", fmt.Sprint("0.", round), tree, tree)
}

// measureTree compares how long a large result takes from the end of its script until it is safe in the store.
func (b *bench) measureTree() error {
	tree, err := b.makeTree()
	if err != nil {
		return err
	}
	return b.compare(table{
		title:  fmt.Sprintf("digest and commit of %d MB in %d files", treeBytes>>20, treeFiles),
		rounds: max(1, b.rounds/2),
		settle: true,
		contenders: []contender{
			{name: "hdjail, registration", asked: target{ratio: 1.2, of: "cp -a and sync -f"}, run: func(round int) (time.Duration, error) {
				spec := filepath.Join(b.dir, "tree.yaml")
				if err := os.WriteFile(spec, []byte(treeSpec(tree, round)), 0o644); err != nil {
					return 0, err
				}
				events := filepath.Join(b.dir, fmt.Sprintf("events%d", round))
				if _, err := b.jailed("build", "--events", events, spec); err != nil {
					return 0, err
				}
				return registration(events)
			}},
			{name: "cp -a and sync -f", run: func(round int) (time.Duration, error) {
				copied := filepath.Join(b.dir, "copy")
				took, err := b.timed("sh", "-c", `cp -a "$1" "$2" && sync -f "$2"`, "sh", tree, copied)
				return took, errors.Join(err, os.RemoveAll(copied))
			}},
			{name: "nix-store --add", needs: "nix-store", run: func(round int) (time.Duration, error) {
				// Another name is another path of the store, so nothing is there yet.
				named := filepath.Join(b.dir, fmt.Sprintf("tree-%d", round))
				if err := os.Rename(tree, named); err != nil {
					return 0, err
				}
				took, err := b.timedIn(b.nixEnvironment(), "nix-store", "--add", named)
				return took, errors.Join(err, os.Rename(named, tree))
			}},
		},
	})
}

// measureLinks compares how long it takes to link a tree of many files into a profile.
func (b *bench) measureLinks() error {
	tree, err := b.makeTree()
	if err != nil {
		return err
	}
	spec := filepath.Join(b.dir, "links.yaml")
	if err := os.WriteFile(spec, []byte(treeSpec(tree, 0)), 0o644); err != nil {
		return err
	}
	var built struct{ Path string }
	if err := b.jailedJSON(&built, "build", "--json", spec); err != nil {
		return err
	}
	// The public path is a symbolic link, which cp would link instead of the files.
	artifact, err := filepath.EvalSymlinks(built.Path)
	if err != nil {
		return err
	}
	fresh := func(kind string, round int) string { return filepath.Join(b.dir, fmt.Sprintf("%s%d", kind, round)) }
	return b.compare(table{
		title:  fmt.Sprintf("a profile of %d links", treeFiles),
		rounds: b.rounds,
		settle: true,
		contenders: []contender{
			{name: "hdjail profile link", asked: target{ratio: 1.5, of: "cp -rs"}, run: func(round int) (time.Duration, error) {
				return b.jailed("profile", "link", fmt.Sprintf("bench%d", round), artifact)
			}},
			{name: "cp -rs", run: func(round int) (time.Duration, error) {
				return b.timed("cp", "-rs", artifact, fresh("links", round))
			}},
			{name: "stow", needs: "stow", run: func(round int) (time.Duration, error) {
				target := fresh("stow", round)
				if err := os.Mkdir(target, 0o755); err != nil {
					return 0, err
				}
				return b.timed("stow", "--no-folding", "-d", filepath.Dir(tree), "-t", target, filepath.Base(tree))
			}},
		},
	})
}
