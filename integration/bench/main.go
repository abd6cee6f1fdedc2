// Command bench measures bin/hdjail beside what else is installed for the same work: bubblewrap, runc, nix, stow, cp. The
// contenders of one table take turns within a round, so a busy moment of the machine hits all of them. A program that is
// absent is named and left out. It writes only below a directory of its own, which it removes.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"syscall"
	"time"
)

// bench is one run of the program: where the parts live and what has been seen on the way.
type bench struct {
	ctx    context.Context
	out    io.Writer
	hdjail string
	// dir is the run's own directory, removed at its end; store is hdjail's below it.
	dir   string
	store string
	// rounds scales how often each table is repeated.
	rounds int
	// specs is how many specs the table "many" plans.
	specs int
	// realizations is how many realizations the store of the table "scale" has.
	realizations int
	// peak is the largest resident set of any hdjail process so far, in bytes.
	peak int64
	// cpu is the processor time of the last command and of what it waited for.
	cpu time.Duration
}

// suite is every table in the order of printing.
var suite = []struct {
	name    string
	measure func(*bench) error
}{
	{"start", (*bench).measureStart},
	{"graph", (*bench).measureGraph},
	{"many", (*bench).measureMany},
	{"tree", (*bench).measureTree},
	{"links", (*bench).measureLinks},
	{"observe", (*bench).measureObserved},
	{"observe-call", (*bench).measureCall},
	{"observe-memory", (*bench).measureRecord},
	{"scale", (*bench).measureScale},
	{"unpack", (*bench).measureUnpack},
	{"memory", (*bench).reportMemory},
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) (err error) {
	hdjail := flag.String("hdjail", "bin/hdjail", "the binary to measure")
	only := flag.String("only", "", "measure only the tables whose name matches this regular expression")
	rounds := flag.Int("rounds", 10, "rounds of the slower tables; the quick ones get more")
	specs := flag.Int("specs", 10000, "how many specs the table \"many\" builds and then plans; its target is meant for 10,000")
	realizations := flag.Int("realizations", 100000, "how many realizations the store of the table \"scale\" has; its targets are meant for 100,000")
	parent := flag.String("dir", "", "where to work; a local disk, not tmpfs (default the system's directory for temporary files)")
	flag.Parse()
	selected, err := regexp.Compile(*only)
	if err != nil {
		return fmt.Errorf("parse -only: %w", err)
	}
	binary, err := filepath.Abs(*hdjail)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(*parent, "hdjail-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove(dir)) }()

	b := &bench{ctx: ctx, out: os.Stdout, hdjail: binary, dir: dir, store: filepath.Join(dir, "store"), rounds: *rounds, specs: *specs, realizations: *realizations}
	if err := os.Mkdir(b.store, 0o755); err != nil {
		return err
	}
	fmt.Fprintf(b.out, "%d processors, %s, working in %s\n", runtime.NumCPU(), kernel(), dir)
	for _, s := range suite {
		if !selected.MatchString(s.name) {
			continue
		}
		if err := s.measure(b); err != nil {
			return fmt.Errorf("measure %s: %w", s.name, err)
		}
	}
	return nil
}

// remove deletes a tree in which a store has made directories read-only.
func remove(dir string) error {
	if err := exec.Command("chmod", "-R", "u+w", dir).Run(); err != nil {
		return fmt.Errorf("make %q removable: %w", dir, err)
	}
	return os.RemoveAll(dir)
}

// kernel is the running kernel's name, for the record.
func kernel() string {
	text, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return "kernel unknown"
	}
	return "Linux " + string(text[:max(0, len(text)-1)])
}

// reportMemory prints what the other tables have seen of hdjail's memory.
func (b *bench) reportMemory() error {
	const asked = 64 << 20
	if b.peak == 0 {
		return nil
	}
	fmt.Fprintf(b.out, "\n== peak memory of hdjail in all of the above\n%d MB, asked %d MB: %s\n", b.peak>>20, asked>>20, judge(b.peak <= asked))
	return nil
}
