package main

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"

	"github.com/zeebo/blake3"
	"golang.org/x/sync/errgroup"
)

// has reports whether the binary has a verb, and says so if not.
func (b *bench) has(verb, table string) bool {
	if exec.CommandContext(b.ctx, b.hdjail, verb, "--help").Run() == nil {
		return true
	}
	fmt.Fprintf(b.out, "\n== left out: %s: hdjail has no %s\n", table, verb)
	return false
}

// measureScale asks a store of many realizations what is asked every day. Memory has no target there.
func (b *bench) measureScale() error {
	root := filepath.Join(b.dir, "scale")
	if err := os.Mkdir(root, 0o755); err != nil {
		return err
	}
	large := *b
	large.store = root
	g := graph{deep: 10, wide: 30}
	specs, err := g.specs(filepath.Join(b.dir, "scale-specs"), "scale")
	if err != nil {
		return err
	}
	build := append([]string{"build"}, specs...)
	if _, err := large.jailed(build...); err != nil {
		return err
	}
	kept, err := populate(root, b.realizations)
	if err != nil {
		return fmt.Errorf("make %d realizations: %w", b.realizations, err)
	}
	if _, err := b.timed("sync", "-f", root); err != nil {
		return err
	}
	err = large.compare(table{
		title:  fmt.Sprintf("%d specs with nothing to do, %d realizations", g.deep*g.wide, b.realizations),
		rounds: 2 * b.rounds,
		contenders: []contender{
			{name: "hdjail build", asked: target{max: 100 * time.Millisecond}, run: func(int) (time.Duration, error) { return large.jailed(build...) }},
		},
	})
	if err != nil {
		return err
	}
	if err := large.measureCollection(kept.String()); err != nil {
		return err
	}
	return large.measureVerify()
}

// measureCollection plans a collection of a store in which one realization of the last layer is pinned.
func (b *bench) measureCollection(kept string) error {
	if !b.has("gc", "gc --dry-run") {
		return nil
	}
	if _, err := b.jailed("pin", kept); err != nil {
		return err
	}
	return b.compare(table{
		title:  fmt.Sprintf("garbage of %d realizations", b.realizations),
		rounds: max(1, b.rounds/2),
		contenders: []contender{
			{name: "hdjail gc --dry-run", asked: target{max: 2 * time.Second}, run: func(int) (time.Duration, error) { return b.jailed("gc", "--dry-run") }},
		},
	})
}

// measureVerify compares verify with a program that only reads and hashes the same files.
func (b *bench) measureVerify() error {
	if !b.has("verify", "verify") {
		return nil
	}
	root := filepath.Join(b.store, "realizations")
	const reader = "BLAKE3 of the same files"
	return b.compare(table{
		title:  fmt.Sprintf("verify %d realizations", b.realizations),
		rounds: max(1, b.rounds/3),
		cpu:    true,
		contenders: []contender{
			{name: reader, run: func(int) (time.Duration, error) { return b.hashTree(root) }},
			{name: "hdjail verify", asked: target{ratio: 1 / 0.8, of: reader}, run: func(int) (time.Duration, error) { return b.jailed("verify") }},
			{name: "b3sum", needs: "b3sum", run: func(int) (time.Duration, error) {
				return b.timed("sh", "-c", fmt.Sprintf(`find "$1" -type f -print0 | xargs -0 -n 500 -P %d b3sum --num-threads 1`, runtime.NumCPU()), "sh", root)
			}},
		},
	})
}

// hashTree hashes every file below a directory, on all processors.
func (b *bench) hashTree(root string) (time.Duration, error) {
	start := time.Now()
	var group errgroup.Group
	files := make(chan string, 1000)
	for range runtime.NumCPU() {
		group.Go(func() error {
			hash, block := blake3.New(), make([]byte, 256<<10)
			for file := range files {
				if err := hashFile(file, hash, block); err != nil {
					for range files { // the walk goes on
					}
					return err
				}
			}
			return nil
		})
	}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			files <- path
		}
		return err
	})
	close(files)
	if failed := group.Wait(); err == nil {
		err = failed
	}
	return time.Since(start), err
}

func hashFile(path string, hash *blake3.Hasher, block []byte) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	hash.Reset()
	if _, err := io.CopyBuffer(struct{ io.Writer }{hash}, struct{ io.Reader }{file}, block); err != nil {
		return err
	}
	hash.Sum(block[:0])
	return nil
}

// measureUnpack compares the arrival of a large result with that of a compressed archive.
func (b *bench) measureUnpack() error {
	if !b.has("unpack", "unpack") {
		return nil
	}
	tree, err := b.makeTree()
	if err != nil {
		return err
	}
	spec, pack, archive := filepath.Join(b.dir, "packed.yaml"), filepath.Join(b.dir, "packed"), filepath.Join(b.dir, "packed.tar.zst")
	if err := os.WriteFile(spec, []byte(treeSpec(tree, 0)), 0o644); err != nil {
		return err
	}
	for _, argv := range [][]string{{"build", spec}, {"pack", "-o", pack, spec}} {
		if _, err := b.jailed(argv...); err != nil {
			return err
		}
	}
	if _, err := b.timed("tar", "--zstd", "-cf", archive, "-C", tree, "."); err != nil {
		return err
	}
	const plain = "tar --zstd -x and sync -f"
	return b.compare(table{
		title:  fmt.Sprintf("unpack %d MB in %d files", treeBytes>>20, treeFiles),
		rounds: max(1, b.rounds/2),
		settle: true,
		cpu:    true,
		contenders: []contender{
			{name: plain, needs: "zstd", run: func(int) (time.Duration, error) {
				dir := filepath.Join(b.dir, "unpacked")
				took, err := b.timed("sh", "-ec", `mkdir "$2"; tar --zstd -xf "$1" -C "$2"; sync -f "$2"`, "sh", archive, dir)
				if err == nil {
					err = remove(dir)
				}
				return took, err
			}},
			{name: "hdjail unpack", asked: target{ratio: 1 / 0.7, of: plain}, run: func(int) (time.Duration, error) {
				empty := filepath.Join(b.dir, "empty")
				took, err := b.timed(b.hdjail, "unpack", "--store", empty, "--prefix", b.store, pack)
				if err == nil {
					err = remove(empty)
				}
				return took, err
			}},
		},
	})
}
