package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestSummarize(t *testing.T) {
	const ms = time.Millisecond
	for _, test := range []struct {
		name    string
		samples []time.Duration
		want    summary
	}{
		{"one sample is all of its quartiles", []time.Duration{7 * ms}, summary{low: 7 * ms, median: 7 * ms, high: 7 * ms}},
		{"order does not matter", []time.Duration{5 * ms, 1 * ms, 4 * ms, 2 * ms, 3 * ms}, summary{low: 2 * ms, median: 3 * ms, high: 4 * ms}},
		{"an outlier moves no quartile", []time.Duration{1 * ms, 2 * ms, 3 * ms, 4 * ms, 900 * ms}, summary{low: 2 * ms, median: 3 * ms, high: 4 * ms}},
	} {
		if got := summarize(test.samples); got != test.want {
			t.Errorf("%s: got %v, want %v", test.name, got, test.want)
		}
	}
}

func TestVerdict(t *testing.T) {
	results := map[string]summary{"cp": {median: 100 * time.Millisecond}}
	for _, test := range []struct {
		target target
		median time.Duration
		want   string
	}{
		{target{}, time.Second, ""},
		{target{max: 25 * time.Millisecond}, 25 * time.Millisecond, "25.0 ms: met"},
		{target{max: 25 * time.Millisecond}, 26 * time.Millisecond, "25.0 ms: MISSED"},
		{target{ratio: 1.2, of: "cp"}, 110 * time.Millisecond, "1.2 x cp: met, 1.10"},
		{target{ratio: 1.2, of: "cp"}, 130 * time.Millisecond, "1.2 x cp: MISSED, 1.30"},
		{target{ratio: 1.2, of: "absent"}, time.Second, ""},
	} {
		if got := test.target.verdict(test.median, results); got != test.want {
			t.Errorf("%+v of %v: got %q, want %q", test.target, test.median, got, test.want)
		}
	}
}

func TestCompareLeavesOutWhatIsAbsent(t *testing.T) {
	var out strings.Builder
	b := &bench{ctx: t.Context(), out: &out}
	steady := func(d time.Duration) func(int) (time.Duration, error) {
		return func(int) (time.Duration, error) { return d, nil }
	}
	err := b.compare(table{title: "t", rounds: 3, per: 2, contenders: []contender{
		{name: "ours", run: steady(20 * time.Millisecond), asked: target{max: 10 * time.Millisecond}},
		{name: "other", needs: "no-such-program", run: steady(0)},
		{name: "theirs", run: steady(40 * time.Millisecond)},
	}})
	if err != nil {
		t.Fatal(err)
	}
	want := `
== t (3 rounds)
not installed: no-such-program
         median          quartiles  to the first         asked
  ours  10.0 ms  10.0 ms - 10.0 ms          1.00  10.0 ms: met
theirs  20.0 ms  20.0 ms - 20.0 ms          2.00              
`
	if got := out.String(); strings.ReplaceAll(got, " ", "") != strings.ReplaceAll(want, " ", "") {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestComparePrintsProcessorTime(t *testing.T) {
	var out strings.Builder
	b := &bench{ctx: t.Context(), out: &out}
	spend := func(int) (time.Duration, error) {
		b.cpu = 4 * time.Second
		return 2 * time.Second, nil
	}
	if err := b.compare(table{title: "t", rounds: 1, per: 1e6, cpu: true, contenders: []contender{{name: "ours", run: spend}}}); err != nil {
		t.Fatal(err)
	}
	if got := strings.Fields(out.String()); !strings.Contains(strings.Join(got, " "), "processor asked ours 2.00 µs 2.00 µs - 2.00 µs 1.00 4.00 µs") {
		t.Errorf("got %s", out.String())
	}
}

func TestGraphSpecsNameOnlySpecsThatExist(t *testing.T) {
	dir := t.TempDir()
	last, err := graph{deep: 3, wide: 4}.specs(dir, "x")
	if err != nil {
		t.Fatal(err)
	}
	written, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil || len(written) != 12 || len(last) != 4 {
		t.Fatalf("%d specs, %d in the last layer, %v", len(written), len(last), err)
	}
	named := 0
	for _, path := range written {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range strings.Split(string(text), "{spec: ")[1:] {
			named++
			name, _, _ := strings.Cut(part, ",")
			if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
				t.Errorf("%s: %v", path, err)
			}
		}
	}
	if named != 2*2*4 {
		t.Errorf("%d dependencies, want 16", named)
	}
}

func TestRegistration(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(`{"time":"2025-01-01T00:00:01Z","event":"build.phase","phase":"check"}
{"time":"2025-01-01T00:00:01.25Z","event":"build.done"}
`)
	if got, err := registration(path); err != nil || got != 250*time.Millisecond {
		t.Errorf("got %v, %v", got, err)
	}
	write(`{"time":"2025-01-01T00:00:01Z","event":"build.phase","phase":"check"}` + "\n")
	if got, err := registration(path); err == nil {
		t.Errorf("got %v without an error though nothing was registered", got)
	}
}
