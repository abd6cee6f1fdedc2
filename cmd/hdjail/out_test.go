package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"hdjail/build"
)

func TestEscape(t *testing.T) {
	for in, want := range map[string]string{
		"plain ü\t→":            "plain ü\t→",
		"\x1b]0;title\x07":      `\x1b]0;title\x07`,
		"a\rb\nc":               `a\x0db\x0ac`,
		"\xff\xfe":              `\xff\xfe`,
		"right\u202eto left":    `right\u202eto left`,
		"\u009b31m":             `\x9b31m`,
		"nul\x00":               `nul\x00`,
		"zero\u200bwidth\ufeff": `zero\u200bwidth\ufeff`,
	} {
		if got := escape(in); got != want {
			t.Errorf("escape %q: %q; want %q", in, got, want)
		}
	}
}

func TestEscapingKeepsLines(t *testing.T) {
	var b bytes.Buffer
	w := &escaping{to: &b}
	for _, part := range []string{"one\r\ntw", "o\n\x1b[1mthree"} {
		if n, err := w.Write([]byte(part)); n != len(part) || err != nil {
			t.Fatal(n, err)
		}
	}
	if want := "one\ntwo\n\\x1b[1mthree"; b.String() != want {
		t.Errorf("%q; want %q", b.String(), want)
	}
}

// story is what a builder tells of three builds, the last of which fails; what depends on it is skipped.
func story(began time.Time) []build.Event {
	at := func(seconds int, e build.Event) build.Event {
		e.Time = began.Add(time.Duration(seconds) * time.Second)
		return e
	}
	return []build.Event{
		at(0, build.Event{Event: "plan", Total: 4}),
		at(0, build.Event{Event: "step", Drv: "z", Name: "zlib"}),
		at(0, build.Event{Event: "step", Drv: "p", Name: "png", Dependencies: []string{"z"}}),
		at(0, build.Event{Event: "step", Drv: "c", Name: "cached"}),
		at(0, build.Event{Event: "step", Drv: "t", Name: "top", Dependencies: []string{"p", "c", "z"}, Target: true}),
		at(0, build.Event{Event: "build.done", Drv: "c", Name: "cached", Status: "cached"}),
		at(0, build.Event{Event: "build.start", Drv: "z", Name: "zlib"}),
		at(0, build.Event{Event: "build.phase", Drv: "z", Name: "zlib", Phase: "lock", Text: "waiting for process 7 on host"}),
		at(0, build.Event{Event: "build.phase", Drv: "z", Name: "zlib", Phase: "fetch"}),
		at(1, build.Event{Event: "build.fetch", Drv: "z", Name: "zlib", Done: 512, Total: 1024}),
		at(1, build.Event{Event: "build.phase", Drv: "z", Name: "zlib", Phase: "run"}),
		at(2, build.Event{Event: "build.done", Drv: "z", Name: "zlib", Status: "built", Seconds: 2}),
		at(2, build.Event{Event: "build.start", Drv: "p", Name: "png"}),
		at(2, build.Event{Event: "build.phase", Drv: "p", Name: "png", Phase: "run"}),
		at(3, build.Event{Event: "build.log", Drv: "p", Name: "png", Text: "first\ncc -o \x1b[2Jpng\n"}),
		at(4, build.Event{Event: "build.done", Drv: "p", Name: "png", Status: "failed", Seconds: 75}),
		at(4, build.Event{Event: "build.done", Drv: "t", Name: "top", Status: "skipped"}),
		at(4, build.Event{Event: "done"}),
	}
}

func TestPlainView(t *testing.T) {
	var people bytes.Buffer
	v := &plainView{out: newOut(nil, &people, false)}
	for _, e := range story(time.Unix(0, 0)) {
		v.Send(e)
	}
	want := `zlib: waiting for process 7 on host
zlib: fetching
zlib: building
zlib: built in 2.0 s
png: building
png: failed in 1m15s
top: skipped
`
	if people.String() != want {
		t.Errorf("%s\nwant:\n%s", people.String(), want)
	}
}

// TestTree shows the tree at three moments.
func TestTree(t *testing.T) {
	began := time.Unix(0, 0)
	now := began
	v := &treeView{out: newOut(nil, &bytes.Buffer{}, false), now: func() time.Time { return now }, began: began,
		nodes: map[string]*node{}, counts: map[string]int{}}
	shows := map[int]string{
		10: "· top\n·   png\n▶     zlib  fetching 50 % of 1024 B  1.0 s\n1 running, 2 waiting, 1 cached  1.0 s",
		15: "· top\n▶   png  building  1.0 s  cc -o \\x1b[2Jpng\n✔     zlib  built in 2.0 s\n1 running, 1 waiting, 1 built, 1 cached  3.0 s",
		18: "- top  skipped\n✘   png  failed in 1m15s\n✔     zlib  built in 2.0 s\n1 built, 1 cached, 1 failed, 1 skipped  4.0 s",
	}
	for i, e := range story(began) {
		v.Send(e)
		now = e.Time
		if want, ok := shows[i+1]; ok {
			if got := strings.Join(append(v.tree(80, 20), v.footer()), "\n"); got != want {
				t.Errorf("after %d events:\n%s\nwant:\n%s", i+1, got, want)
			}
		}
	}
	if got, want := strings.Join(v.tree(20, 2), "\n"), "- top  skipped\n✘   png  failed in "; got != want {
		t.Errorf("without room:\n%q; want\n%q", got, want)
	}
}

// TestWriteFileHasNoName while it is written, so that who is killed leaves nothing; an error leaves what was there.
func TestWriteFileHasNoName(t *testing.T) {
	a := &app{dir: t.TempDir()}
	names := func() (names string) {
		entries, err := os.ReadDir(a.dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			names += e.Name() + " "
		}
		return names
	}
	failed := errors.New("failed")
	for i, r := range []struct {
		text, during, after string
		err                 error
	}{{"one", "", "", failed}, {"one", "", "one", nil}, {"two", "f ", "two", nil}, {"three", "f ", "two", failed}} {
		err := a.writeFile("f", func(w io.Writer) error {
			if got := names(); got != r.during {
				t.Errorf("%d: while it is written there are %q", i, got)
			}
			_, err := io.WriteString(w, r.text)
			return errors.Join(err, r.err)
		})
		data, _ := os.ReadFile(a.dir + "/f") // none is nothing
		if !errors.Is(err, r.err) || string(data) != r.after || r.after != "" && names() != "f " {
			t.Errorf("%d: %v, %q, %q", i, err, data, names())
		}
	}
}
