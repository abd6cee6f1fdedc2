package leaks

import (
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"hdjail/artifact/tree"
)

// mirror copies regular files from below the directories until there are so many files or bytes.
func mirror(b *testing.B, files int, bytes int64, dirs ...string) string {
	b.Helper()
	root := b.TempDir()
	for i, dir := range dirs {
		leftFiles, leftBytes := files/(len(dirs)-i), bytes/int64(len(dirs)-i)
		err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			data, err := os.ReadFile(name)
			if err != nil || int64(len(data)) > leftBytes {
				return nil
			}
			to := filepath.Join(root, strconv.Itoa(i), strings.TrimPrefix(name, dir))
			if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
				return err
			}
			if err := os.WriteFile(to, data, 0o644); err != nil {
				return err
			}
			files, bytes = files-1, bytes-int64(len(data))
			leftBytes -= int64(len(data))
			if leftFiles--; leftFiles == 0 || leftBytes < 1<<10 {
				return fs.SkipAll
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	return root
}

// processor returns how much processor time the process has used, in milliseconds. Others may use the machine at the same
// time, so the clock alone says little.
func processor(b *testing.B) float64 {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e6
}

// BenchmarkScan compares with the digest of the same trees, which each build has to make: a big one of 6,000 files of the
// machine and 280 MB, and a small one.
func BenchmarkScan(b *testing.B) {
	for _, c := range []struct {
		name string
		root func(b *testing.B) string
	}{
		{"big", func(b *testing.B) string {
			return mirror(b, 6000, 280<<20, "/usr/lib/x86_64-linux-gnu", "/usr/lib/gcc", "/usr/share/doc", "/usr/include", "/usr/share")
		}},
		{"small", func(b *testing.B) string { return mirror(b, 10, 1<<20, "/usr/share/doc") }},
	} {
		root := c.root(b)
		open := func() *os.File {
			dir, err := os.Open(root)
			if err != nil {
				b.Fatal(err)
			}
			return dir
		}
		var bytes int64
		b.Run(c.name+"/digest", func(b *testing.B) {
			before := processor(b)
			for b.Loop() {
				dir := open()
				_, stats, err := tree.Digest(b.Context(), dir, tree.Options{})
				if err != nil {
					b.Fatal(err)
				}
				bytes = stats.Bytes
				dir.Close()
			}
			b.ReportMetric((processor(b)-before)/float64(b.N), "cpu-ms/op")
			b.SetBytes(bytes)
		})
		b.Run(c.name+"/scan", func(b *testing.B) {
			o := Options{Artifact: "/hdjail/store/" + strings.Repeat("a", 32) + "-a-1", Stores: []string{"/hdjail", "/srv/store"},
				BuildDirs: []string{"/build"}, Root: "/", OnHost: func(string) bool { return false }}
			var r Report
			before := processor(b)
			for b.Loop() {
				dir := open()
				var err error
				if r, err = Scan(b.Context(), dir, o); err != nil {
					b.Fatal(err)
				}
				dir.Close()
			}
			b.SetBytes(bytes)
			b.ReportMetric((processor(b)-before)/float64(b.N), "cpu-ms/op")
			b.ReportMetric(float64(r.Summary.Files), "files")
			b.ReportMetric(float64(r.Summary.ELF), "elf")
			b.ReportMetric(float64(len(r.Text)), "refs")
		})
	}
}
