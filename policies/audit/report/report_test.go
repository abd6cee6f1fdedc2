package report

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"hdjail/policies"
	"hdjail/policies/audit"
	"hdjail/policies/audit/audittest"
)

var update = flag.Bool("update", false, "write the golden files")

// later is Sample(10) after an upgrade and a change of the whitelist, in other words after everything that a diff can say.
func later() *audit.Audit {
	a := audittest.Sample(10)
	a.Header.Mode, a.Header.Kernel, a.Header.Complete, a.Header.IncompleteReasons = "log", "6.12", false, []string{"2 records lost"}
	a.Header.Whitelist.Packages = append(slices.Clone(a.Header.Whitelist.Packages[1:]), audit.Owner{Package: "zlib1g-dev", Version: "1:1.3"})
	for i := range a.Accesses {
		switch access := &a.Accesses[i]; access.Verdict {
		case policies.Hidden:
			access.Verdict, access.Errno = policies.Allowed, 0
			access.Owners = []audit.Owner{{Package: "zlib1g-dev", Version: "1:1.3"}}
		case policies.Denied:
			access.Path += "-elsewhere"
		}
	}
	return a
}

// shown are the texts that the golden files have.
func shown(t *testing.T) map[string]string {
	t.Helper()
	join := func(lines []string) string { return strings.Join(lines, "\n") + "\n" }
	texts := map[string]string{"diff": join(Compare(audittest.Sample(10), later()).Lines())}
	for name, a := range map[string]*audit.Audit{"10": audittest.Sample(10), "3000": audittest.Sample(3000), "hostile": audittest.HostileAudit()} {
		texts["summary-"+name] = join(Summary(a, SummaryOptions{Name: "mf2x", Width: 160}))
	}
	small, hostile := audittest.Sample(10), audittest.HostileAudit()
	texts["list"] = join(slices.Collect(Lines(small)))
	texts["list-hostile"] = join(slices.Collect(Lines(hostile)))
	for _, path := range []string{"/opt/licenses", "zconf.h", "/usr/local/share/made-0", "/usr/include", "/nowhere"} {
		texts["explain"] += join(append(Explain(small, path).Lines(), ""))
	}
	for _, by := range []By{ByPackage, ByProcess, ByDirectory} {
		for _, g := range Groups(Select(small, Reported()), by) {
			texts["by-"+string(by)] += join(slices.Collect(g.Lines()))
		}
	}
	var table, sarif bytes.Buffer
	if err := WriteCSV(&table, hostile); err != nil {
		t.Fatal(err)
	}
	if err := WriteSARIF(&sarif, small, "1.0"); err != nil {
		t.Fatal(err)
	}
	texts["csv"], texts["sarif"] = table.String(), sarif.String()
	return texts
}

func TestGolden(t *testing.T) {
	for name, got := range shown(t) {
		file := "testdata/" + name + ".golden"
		if *update {
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s is\n%s\nwant\n%s", name, got, want)
		}
	}
}

func TestSummaryFits(t *testing.T) {
	for _, n := range []int{10, 100, 1000, 20_000} {
		for _, lines := range []int{0, 5, 12, 15, 25, 60} {
			a := audittest.Sample(n)
			a.Header.Complete, a.Header.IncompleteReasons, a.Header.Enforced.Missing = false, []string{"lost"}, []string{"memory"}
			a.Events = []audit.Event{{Name: "limit:memory"}, {Name: "survivor:killed"}}
			for i := range 40 { // more packages than there is room for
				a.Accesses = append(a.Accesses, audit.Access{Op: policies.OpRead, Path: fmt.Sprintf("/usr/x%d", i), Verdict: policies.Hidden, Count: 1,
					Owners: []audit.Owner{{Package: fmt.Sprintf("lib%d", i)}}})
			}
			got := Summary(a, SummaryOptions{Lines: lines, Width: 120, Name: "a b"})
			limit := max(lines, 12)
			if lines == 0 {
				limit = 25
			}
			text := strings.Join(got, "\n")
			if len(got) > limit {
				t.Errorf("%d accesses in %d lines, %d allowed:\n%s", n, len(got), limit, text)
			}
			for _, want := range []string{"not complete: lost", "not enforced: memory", "unknown: ", "denied: ", "more packages", "2 events", "\nnext: hdjail audit 'a b' --html"} {
				if !strings.Contains(text, want) && !(lines == 60 && want == "more packages") {
					t.Errorf("%d accesses in %d lines lack %q:\n%s", n, limit, want, text)
				}
			}
			for _, line := range got[:len(got)-1] {
				if len([]rune(line)) > 120 {
					t.Errorf("long line %q", line)
				}
			}
		}
	}
}

// TestNextIsHarmless: what people paste runs nothing else, and a path that cannot be pasted is not proposed.
func TestNextIsHarmless(t *testing.T) {
	for path, want := range map[string]string{
		"/a b":                         `--explain '/a b'`,
		"/$(touch x)`y`;z":             "--explain '/$(touch x)`y`;z'",
		"/it's":                        `--explain '/it'\''s'`,
		"/\x1b[2J":                     "",
		"/" + strings.Repeat("x", 200): "",
	} {
		a := &audit.Audit{Accesses: []audit.Access{{Op: policies.OpRead, Path: path, Verdict: policies.Leaked, Count: 1}}}
		got := Summary(a, SummaryOptions{Name: "x"})
		if last := got[len(got)-1]; want == "" && strings.Contains(last, "--explain") || !strings.HasSuffix(last, want) {
			t.Errorf("%q: %s", path, last)
		}
	}
}

func TestEscape(t *testing.T) {
	for _, text := range audittest.Hostile() {
		once := Escape(text)
		if Escape(once) != once || !utf8.ValidString(once) || strings.ContainsAny(once, "\x00\x07\x1b\n\r\u2028\u202e") {
			t.Errorf("%q becomes %q", text, once)
		}
	}
}

func TestWhy(t *testing.T) {
	a := &audit.Audit{Header: audit.Header{Whitelist: audit.Whitelist{Packages: []audit.Owner{{Package: "gcc"}}, Paths: []string{"/opt/a"},
		Writable: []string{"/w"}, Dependencies: []string{"/store/dep"}}}}
	owned := func(name string) []audit.Owner { return []audit.Owner{{Package: name, Version: "1"}} }
	for _, test := range []struct {
		access     audit.Access
		why, allow string
	}{
		{audit.Access{Path: "/usr/bin/gcc", Verdict: policies.Allowed, Owners: owned("gcc")}, "whitelisted package gcc 1", ""},
		{audit.Access{Path: "/opt/a/b", Verdict: policies.Allowed}, "whitelisted path /opt/a", ""},
		{audit.Access{Path: "/opt/ab", Verdict: policies.Allowed}, "jail's own", ""},
		{audit.Access{Path: "/x", Resolved: "/w/x", Verdict: policies.Allowed}, "writable directory /w", ""},
		{audit.Access{Path: "/store/dep/lib", Verdict: policies.Allowed}, "dependency /store/dep", ""},
		{audit.Access{Path: "/usr/x", Verdict: policies.Hidden, Owners: owned("libx")}, "the host has it", "host.packages: [libx]"},
		{audit.Access{Path: "/usr/x", Verdict: policies.Hidden, Owners: append(owned("libx"), owned("liby")...)}, "the host has it", "host.packages: [libx] or host.packages: [liby]"},
		{audit.Access{Path: "/usr/lib/gcc/new", Verdict: policies.Hidden, Owners: owned("gcc"), Reason: "the host refuses"}, "(the host refuses)", "none: gcc 1 is whitelisted"},
		{audit.Access{Path: "/a", Resolved: "/opt/x", Verdict: policies.Leaked}, "may depend on this host", "host.paths: [/opt/x]"},
		{audit.Access{Path: "/a", Verdict: policies.Absent}, "nothing was hidden", ""},
		{audit.Access{Path: "/usr/a b/c", Verdict: policies.Denied, Errno: int(syscall.EROFS)}, "read-only", "hdjail run --rw '/usr/a b'"},
		{audit.Access{Path: "10.0.0.1:80", Verdict: policies.Denied, Errno: int(syscall.ENETUNREACH)}, "no network", ""},
		{audit.Access{Calls: []string{"mount"}, Verdict: policies.Denied, Errno: int(syscall.EPERM)}, "refuse this call", ""},
		{audit.Access{Path: "/a", Verdict: policies.Denied, Errno: int(syscall.EACCES)}, "permission was refused", ""},
		{audit.Access{Verdict: policies.Unknown, Reason: "EFAULT"}, "(EFAULT)", ""},
	} {
		why, allow := Reasons(a)(test.access)
		if !strings.Contains(why, test.why) || !strings.HasPrefix(allow, test.allow) || test.allow == "" && allow != "" {
			t.Errorf("%+v: %q, allowed by %q", test.access, why, allow)
		}
	}
}

func TestExplainNear(t *testing.T) {
	a := &audit.Audit{}
	for _, path := range []string{"/usr/include/bzlib.h", "/usr/include/lzma.h", "/usr/local/include/bzlib.h", "/opt/deep/er/x", "/bzlib.h.in", "/a\x1bb"} {
		a.Accesses = append(a.Accesses, audit.Access{Op: policies.OpRead, Path: path, Verdict: policies.Hidden, Count: 1})
	}
	a.Accesses[3].Resolved = "/srv/x"
	for _, test := range []struct {
		path  string
		exact bool
		found string
	}{
		{"/usr/include/bzlib.h", true, "/usr/include/bzlib.h"},
		{"/srv/x", true, "/opt/deep/er/x"},
		{`/a\x1bb`, true, "/a\x1bb"},
		{"include/bzlib.h", false, "/usr/include/bzlib.h /usr/local/include/bzlib.h"},
		{"/opt/deep", false, "/opt/deep/er/x"},
		{"/else/lzma.h", false, "/usr/include/lzma.h"},
		{"/usr/include/none.h", false, "/usr/include/bzlib.h /usr/include/lzma.h"},
		{"/usr/share/none.h", false, "/usr/include/bzlib.h /usr/include/lzma.h /usr/local/include/bzlib.h"},
		{"/none", false, ""},
	} {
		e := Explain(a, test.path)
		var found []string
		for _, entry := range e.Entries {
			found = append(found, entry.Access.Path)
		}
		if got := strings.Join(found, " "); e.Exact != test.exact || got != test.found {
			t.Errorf("%q: exact %v, %q", test.path, e.Exact, got)
		}
	}
}

func TestCompare(t *testing.T) {
	if d := Compare(audittest.Sample(100), audittest.Sample(100)); !d.Equal() {
		t.Errorf("the same differs: %v", d.Lines())
	}
	// Counts, times and processes are those of every run anew.
	other := audittest.Sample(100)
	other.Header.Start, other.Header.Duration, other.Header.Counters.Events = time.Time{}, 1, 1
	for i := range other.Accesses {
		other.Accesses[i].Count, other.Accesses[i].First, other.Accesses[i].Process = 1, 0, 0
	}
	if d := Compare(audittest.Sample(100), other); !d.Equal() {
		t.Errorf("counts and times differ: %v", d.Lines())
	}
	for _, form := range []any{Compare(audittest.Sample(10), later()), Explain(audittest.Sample(10), "/opt/licenses"), Explain(&audit.Audit{}, "/")} {
		text, err := json.Marshal(form)
		if err != nil || strings.Contains(string(text), "null,\"entries\"") {
			t.Errorf("%s %v", text, err)
		}
	}
}

func TestCSV(t *testing.T) {
	a := audittest.HostileAudit()
	var b bytes.Buffer
	if err := WriteCSV(&b, a); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(b.String(), "\r\n"); n != len(a.Accesses)+1 || strings.Count(b.String(), "\n") != n {
		t.Errorf("%d ends of rows, want %d", n, len(a.Accesses)+1)
	}
	checkCSV(t, b.Bytes(), a)
}

func checkCSV(t *testing.T, text []byte, a *audit.Audit) {
	t.Helper()
	rows, err := csv.NewReader(bytes.NewReader(text)).ReadAll()
	if err != nil || len(rows) != len(a.Accesses)+1 || !slices.Equal(rows[0], csvHeader) {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	for _, row := range rows {
		for _, field := range row {
			if field != "" && strings.Contains("=+-@\t\r", field[:1]) || Escape(field) != field {
				t.Errorf("field %q", field)
			}
		}
	}
}

// FuzzReports: whatever can be read can be shown, as safe text of the promised size, and does not differ from itself.
func FuzzReports(f *testing.F) {
	// Small ones: the engine is slow with large inputs.
	f.Add([]byte(`{"format":1,"complete":true,"counts":{},"events":[{"name":"limit:memory","path":"/a","time_ns":5}],"processes":[{"id":1,"pid":2,"exe":"/bin/sh","argv":["sh","-c"]}],`+
		`"accesses":[{"op":"read","path":"/a\u001b","path_b64":"L2Eb/w==","verdict":"hidden","count":2,"errno":"ENOENT","process_id":1,"owners":[{"package":"=p","version":"1"}]}]}`), "/a")
	f.Add([]byte(`{"format":1,"accesses":[{"op":"call","path":"","verdict":"denied","count":1,"errno":"EPERM","calls":["mount"]}]}`), "mount")
	f.Add([]byte(`{"line":"header","format":1}`+"\n"+`{"line":"access","op":"list","path":"/","verdict":"unknown","count":1,"errno":null,"reason":"\n"}`+"\n"), "")
	f.Fuzz(func(t *testing.T, text []byte, path string) {
		a, _ := audit.Read(bytes.NewReader(text))
		if a == nil {
			return
		}
		lines := Summary(a, SummaryOptions{Name: path})
		if len(lines) > summaryLines {
			t.Errorf("%d lines", len(lines))
		}
		lines = slices.Concat(lines, slices.Collect(Lines(a)), Explain(a, path).Lines())
		for _, g := range Groups(a, ByDirectory) {
			lines = slices.AppendSeq(lines, g.Lines())
		}
		d := Compare(a, a)
		if lines = append(lines, d.Lines()...); !d.Equal() {
			t.Errorf("it differs from itself: %q", d.Lines())
		}
		for _, line := range lines {
			if Escape(line) != line || strings.Contains(line, "\n") {
				t.Errorf("unsafe line %q", line)
			}
		}
		var table, sarif bytes.Buffer
		if err := WriteCSV(&table, a); err != nil {
			t.Error(err)
		}
		checkCSV(t, table.Bytes(), a)
		if err := WriteSARIF(&sarif, a, path); err != nil || !json.Valid(sarif.Bytes()) {
			t.Errorf("%v\n%s", err, sarif.Bytes())
		}
		if _, err := json.Marshal([]any{d, Explain(a, path)}); err != nil {
			t.Error(err)
		}
	})
}
