package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
)

// contender is one way to do the work of a table.
type contender struct {
	name string
	// needs is the program without which it is left out; empty for none.
	needs string
	// run does the work of one round and returns what it took.
	run func(round int) (time.Duration, error)
	// asked is what hdjail is held to; the zero value for the others.
	asked target
}

// target is a figure to meet: at most max, or at most ratio times what the contender named of takes.
type target struct {
	max   time.Duration
	ratio float64
	of    string
}

// table is one comparison. Each round takes, for every contender, a time that stands for `per` pieces of work.
type table struct {
	title      string
	rounds     int
	per        int
	contenders []contender
	// settle has everything written to the disk before each turn, so that none waits for another's data.
	settle bool
	// cpu has the processor time printed, too.
	cpu bool
}

// summary is the distribution of one contender's rounds.
type summary struct {
	low, median, high time.Duration
	// cpu is the median of the processor time.
	cpu time.Duration
}

// summarize returns the quartiles of at least one sample.
func summarize(samples []time.Duration) summary {
	sorted := slices.Sorted(slices.Values(samples))
	at := func(quarter int) time.Duration { return sorted[(len(sorted)-1)*quarter/4] }
	return summary{low: at(1), median: at(2), high: at(3)}
}

// compare runs the table's contenders in turns, after one round that does not count, and prints the result. Ratios are to
// the first contender.
func (b *bench) compare(t table) error {
	var absent []string
	var present []contender
	for _, c := range t.contenders {
		if _, err := exec.LookPath(c.needs); c.needs != "" && err != nil {
			absent = append(absent, c.needs)
			continue
		}
		present = append(present, c)
	}
	samples, cpu := map[string][]time.Duration{}, map[string][]time.Duration{}
	for round := range t.rounds + 1 {
		for _, c := range present {
			if t.settle {
				if _, err := b.timed("sync", "-f", b.dir); err != nil {
					return err
				}
			}
			took, err := c.run(round)
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			if round > 0 {
				samples[c.name] = append(samples[c.name], took/time.Duration(max(t.per, 1)))
				cpu[c.name] = append(cpu[c.name], b.cpu/time.Duration(max(t.per, 1)))
			}
		}
	}
	results := map[string]summary{}
	for name, s := range samples {
		r := summarize(s)
		if t.cpu {
			r.cpu = summarize(cpu[name]).median
		}
		results[name] = r
	}
	fmt.Fprintf(b.out, "\n== %s (%d rounds)\n", t.title, t.rounds)
	if len(absent) > 0 {
		fmt.Fprintf(b.out, "not installed: %s\n", strings.Join(absent, ", "))
	}
	return render(b.out, present, results)
}

// render prints one line a contender.
func render(out io.Writer, present []contender, results map[string]summary) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	first := results[present[0].name].median
	processor := func(text string) string {
		if results[present[0].name].cpu == 0 {
			return ""
		}
		return text + "\t"
	}
	fmt.Fprintln(w, "\tmedian\tquartiles\tto the first\t"+processor("processor")+"asked\t")
	longest := 0
	for _, c := range present {
		longest = max(longest, len(c.name))
	}
	for _, c := range present {
		r := results[c.name]
		fmt.Fprintf(w, "%-*s\t%s\t%s - %s\t%.2f\t%s%s\t\n", longest, c.name, short(r.median), short(r.low), short(r.high),
			float64(r.median)/float64(first), processor(short(r.cpu)), c.asked.verdict(r.median, results))
	}
	return w.Flush()
}

// verdict says what was asked of a median and whether it holds; nothing where nothing is asked or the reference is absent.
func (t target) verdict(median time.Duration, results map[string]summary) string {
	if t.max > 0 {
		return fmt.Sprintf("%s: %s", short(t.max), judge(median <= t.max))
	}
	reference, ok := results[t.of]
	if t.of == "" || !ok {
		return ""
	}
	ratio := float64(median) / float64(reference.median)
	return fmt.Sprintf("%.3g x %s: %s, %.2f", t.ratio, t.of, judge(ratio <= t.ratio), ratio)
}

func judge(met bool) string {
	if met {
		return "met"
	}
	return "MISSED"
}

// short writes a duration with three digits or so.
func short(d time.Duration) string {
	switch {
	case d < 100*time.Microsecond:
		return fmt.Sprintf("%.2f µs", float64(d)/1e3)
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.2f ms", float64(d)/1e6)
	case d < time.Second:
		return fmt.Sprintf("%.1f ms", float64(d)/1e6)
	}
	return fmt.Sprintf("%.2f s", d.Seconds())
}

// timed runs one command to its end and returns how long it took. Its output is shown only if it fails.
func (b *bench) timed(argv ...string) (time.Duration, error) {
	return b.timedIn(nil, argv...)
}

// timedIn is timed with additions to the environment.
func (b *bench) timedIn(environment []string, argv ...string) (time.Duration, error) {
	cmd := exec.CommandContext(b.ctx, argv[0], argv[1:]...)
	cmd.Dir = b.dir
	cmd.Env = append(os.Environ(), environment...)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	start := time.Now()
	err := cmd.Run()
	took := time.Since(start)
	if err != nil {
		return 0, fmt.Errorf("run %q: %w\n%s", argv[0], err, output.Bytes())
	}
	b.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok && argv[0] == b.hdjail {
		b.peak = max(b.peak, usage.Maxrss<<10)
	}
	return took, nil
}

// jailed runs hdjail on the bench's store.
func (b *bench) jailed(argv ...string) (time.Duration, error) {
	return b.timedIn([]string{"HDJAIL_STORE=" + b.store}, append([]string{b.hdjail}, argv...)...)
}

// jailedJSON runs hdjail on the bench's store and decodes what it prints.
func (b *bench) jailedJSON(into any, argv ...string) error {
	cmd := exec.CommandContext(b.ctx, b.hdjail, argv...)
	cmd.Env = append(os.Environ(), "HDJAIL_STORE="+b.store)
	cmd.Stderr = os.Stderr
	output, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("run %q: %w", b.hdjail, err)
	}
	return json.Unmarshal(output, into)
}
