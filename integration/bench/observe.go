package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"time"
)

// workload is a build whose accesses are recorded. example is the spec that names its source.
type workload struct {
	name, example string
	// prepare runs outside of the measurement, script inside.
	prepare, script string
	rounds          int
	// asked bounds the ratio of a full log to the bare command.
	asked float64
}

func (b *bench) workloads() []workload {
	jobs := fmt.Sprint(" -j", runtime.NumCPU())
	return []workload{
		{"compile of zlib", "zlib.yaml", "./configure", "make" + jobs, b.rounds, 1.08},
		{"compile of Lua", "lua.yaml", "true", "make" + jobs + " linux", b.rounds, 1.08},
		{"configure && make of hello", "hello.yaml", "true", "./configure --disable-nls --disable-dependency-tracking && make" + jobs,
			max(1, b.rounds/3), 1.25},
	}
}

// observes reports whether the binary can record at all.
func (b *bench) observes() bool {
	help, err := exec.CommandContext(b.ctx, b.hdjail, "run", "--help").Output()
	if err == nil && bytes.Contains(help, []byte("--audit")) {
		return true
	}
	fmt.Fprintln(b.out, "\n== left out: hdjail run has no --audit")
	return false
}

// measureObserved compares builds that are recorded with the bare command.
func (b *bench) measureObserved() error {
	if !b.observes() {
		return nil
	}
	peak := b.peak // memory has a target of its own where accesses are recorded
	defer func() { b.peak = peak }()
	for _, w := range b.workloads() {
		if err := b.measureWorkload(w); err != nil {
			return err
		}
	}
	return nil
}

// source returns the archive of an example, fetched into the bench's store.
func (b *bench) source(example string) (string, error) {
	spec := filepath.Join("examples", example)
	text, err := os.ReadFile(spec)
	if err != nil {
		return "", fmt.Errorf("run bench from the project's root: %w", err)
	}
	digest := regexp.MustCompile(`sha256: ([0-9a-f]{64})`).FindSubmatch(text)
	if digest == nil {
		return "", fmt.Errorf("read %q: no digest of a source", spec)
	}
	absolute, err := filepath.Abs(spec)
	if err != nil {
		return "", err
	}
	if _, err := b.jailed("fetch", absolute); err != nil {
		return "", err
	}
	return filepath.Join(b.store, "sources", "sha256", string(digest[1])), nil
}

func (b *bench) measureWorkload(w workload) error {
	archive, err := b.source(w.example)
	if err != nil {
		fmt.Fprintf(b.out, "\n== left out: %s: %v\n", w.name, err)
		return nil
	}
	dir, audit := filepath.Join(b.dir, "observe"), filepath.Join(b.dir, "audit.json")
	build := []string{"sh", "-c", "cd " + dir + " && { " + w.script + "; }"}
	in := func(run func(argv ...string) (time.Duration, error), argv ...string) func(int) (time.Duration, error) {
		return func(int) (time.Duration, error) {
			if _, err := b.timed("sh", "-ec", `rm -rf "$1"; mkdir "$1"; tar -xf "$2" -C "$1" --strip-components=1; cd "$1"; `+w.prepare, "sh", dir, archive); err != nil {
				return 0, err
			}
			return run(append(argv, build...)...)
		}
	}
	const bare = "bare command"
	return b.compare(table{
		title:  w.name,
		rounds: w.rounds,
		cpu:    true,
		contenders: []contender{
			{name: bare, run: in(b.timed)},
			{name: "hdjail run --mode off", run: in(b.jailed, "run", "--mode", "off", "--rw", dir, "--")},
			{name: "hdjail run --mode log --audit", asked: target{ratio: w.asked, of: bare},
				run: in(b.jailed, "run", "--mode", "log", "--rw", dir, "--audit", audit, "--")},
			{name: "strace -f in --mode off", needs: "strace",
				run: in(b.jailed, "run", "--mode", "off", "--rw", dir, "--", "strace", "-f", "-o", filepath.Join(dir, "trace"), "-e", "trace=%file,%process,getdents64")},
			{name: "strace -f --seccomp-bpf alone", needs: "strace",
				run: in(b.timed, "strace", "-f", "--seccomp-bpf", "-o", filepath.Join(b.dir, "trace"), "-e", "trace=%file,%process,getdents64")},
		},
	})
}

// statSource asks N times for one of M paths that exist nowhere.
const statSource = `#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
int main(int argc, char **argv)
{
	long n = atol(argv[1]), m = atol(argv[2]);
	char path[64];
	struct stat s;
	for (long i = 0; i < n; i++) {
		if (m > 1 || i == 0)
			snprintf(path, sizeof path, "/no/such/directory/file%ld", i % m);
		stat(path, &s);
	}
	return 0;
}
`

func (b *bench) makeStat() (string, error) {
	program := filepath.Join(b.dir, "calls", "stat")
	if err := os.MkdirAll(filepath.Dir(program), 0o755); err != nil {
		return "", err
	}
	if err := os.WriteFile(program+".c", []byte(statSource), 0o644); err != nil {
		return "", err
	}
	_, err := b.timed("gcc", "-O1", "-static", "-o", program, program+".c")
	return program, err
}

// measureCall is the price of one call, the start of the jail spread over all of them.
func (b *bench) measureCall() error {
	program, err := b.makeStat()
	if err != nil || !b.observes() {
		return err
	}
	peak := b.peak
	defer func() { b.peak = peak }()
	const calls = 1000000
	loop := []string{program, fmt.Sprint(calls), "1"}
	jailed := func(options ...string) func(int) (time.Duration, error) {
		return func(int) (time.Duration, error) {
			argv := append([]string{"run", "--ro", filepath.Dir(program)}, options...)
			return b.jailed(append(append(argv, "--"), loop...)...)
		}
	}
	return b.compare(table{
		title:  fmt.Sprintf("one stat() of %d", calls),
		rounds: max(1, b.rounds/2),
		per:    calls,
		cpu:    true,
		contenders: []contender{
			{name: "bare", run: func(int) (time.Duration, error) { return b.timed(loop...) }},
			{name: "hdjail run --mode off", run: jailed("--mode", "off")},
			{name: "hdjail run --mode log --audit", asked: target{max: 6 * time.Microsecond},
				run: jailed("--mode", "log", "--audit", filepath.Join(b.dir, "audit.json"))},
		},
	})
}

// measureRecord is hdjail's memory for a large record. The kernel reports the largest resident set of the process and of the
// children that it waited for, and these are small.
func (b *bench) measureRecord() error {
	program, err := b.makeStat()
	if err != nil || !b.observes() {
		return err
	}
	peak := b.peak
	defer func() { b.peak = peak }()
	const events, distinct, asked = 1000000, 100000, 128 << 20
	b.peak = 0
	took, err := b.jailed("run", "--mode", "log", "--ro", filepath.Dir(program), "--audit", filepath.Join(b.dir, "audit.json"), "--",
		program, fmt.Sprint(events), fmt.Sprint(distinct))
	if err != nil {
		return err
	}
	fmt.Fprintf(b.out, "\n== memory of hdjail for %d events over %d distinct paths\n%d MB in %s, asked %d MB: %s\n", events, distinct, b.peak>>20,
		short(took), asked>>20, judge(b.peak <= asked))
	return nil
}
