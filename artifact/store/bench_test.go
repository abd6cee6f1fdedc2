package store

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"hdjail/artifact"
	"hdjail/artifact/collect"
)

// BenchmarkRegisterTiny collects and registers outputs of one file, as 300 trivial builds do.
func BenchmarkRegisterTiny(b *testing.B) {
	for _, workers := range []int{1, 2, 4} {
		b.Run(strconv.Itoa(workers), func(b *testing.B) {
			s := open(b, Options{})
			jobs := make(chan int)
			var g errgroup.Group
			for range workers {
				g.Go(func() error {
					for i := range jobs {
						if _, err := run(s, sample(fmt.Sprint("tiny", i)), map[string]string{"f": "x"}); err != nil {
							return err
						}
					}
					return nil
				})
			}
			for i := 0; b.Loop(); i++ {
				jobs <- i
			}
			close(jobs)
			if err := g.Wait(); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// BenchmarkRegisterBig commits 280 MB in 6,000 files, and compares with cp -a and sync -f of the same tree.
func BenchmarkRegisterBig(b *testing.B) {
	s := open(b, Options{})
	source := s.TmpDir() + "/big"
	plantBig(b, source)
	var copied, committed time.Duration
	for i := 0; b.Loop(); i++ {
		b.StopTimer()
		target := s.TmpDir() + "/copy"
		must(b, s.sync())
		start := time.Now()
		shell(b, "cp", "-a", source, target)
		shell(b, "sync", "-f", target)
		copied += time.Since(start)
		shell(b, "rm", "-rf", target)

		out, err := s.NewTemp()
		must(b, err, os.Remove(out.Dir), s.sync())
		shell(b, "cp", "-a", source, out.Dir) // not yet on disk, as after a build
		must(b, os.WriteFile(out.Dir+"/unique", []byte(strconv.Itoa(i)), 0o644))
		b.StartTimer()
		start = time.Now()
		r, err := collect.Collect(context.Background(), out.Dir, collect.Options{UID: os.Geteuid()})
		must(b, err)
		d := sample("big")
		_, err = s.Register(context.Background(), Registration{Derivation: d, Out: out.Dir, Tree: r.Tree, Record: artifact.BuildRecord{Purpose: "build"}})
		must(b, err)
		committed += time.Since(start)
	}
	b.ReportMetric(copied.Seconds()*1000/float64(b.N), "cp-ms/op")
	b.ReportMetric(float64(committed)/float64(copied), "commit/cp")
}

func plantBig(b *testing.B, dir string) {
	random := rand.New(rand.NewPCG(1, 2))
	buf := make([]byte, 280_000_000/6000)
	for i := range 6000 {
		for j := range buf {
			buf[j] = byte(random.Uint32())
		}
		p := filepath.Join(dir, strconv.Itoa(i%300), strconv.Itoa(i))
		must(b, os.MkdirAll(filepath.Dir(p), 0o755), os.WriteFile(p, buf, 0o644))
	}
}

func shell(b *testing.B, name string, args ...string) {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		b.Fatalf("%s: %v: %s", name, err, out)
	}
}

// BenchmarkRealizations is what a plan with nothing to do asks for each spec.
func BenchmarkRealizations(b *testing.B) {
	s := open(b, Options{})
	r, err := run(s, sample("hello"), map[string]string{"f": "x"})
	must(b, err)
	for b.Loop() {
		if found, err := s.Realizations(r.Derivation); err != nil || len(found) != 1 {
			b.Fatal(found, err)
		}
	}
}
