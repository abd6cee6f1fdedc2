package page

import (
	"bytes"
	"encoding/json"
	"errors"
	"regexp"
	"strings"
	"testing"

	"hdjail/policies/audit"
	"hdjail/policies/audit/audittest"
)

func write(t *testing.T, a *audit.Audit) string {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, a, "1.0"); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// dataOf is the data that the script gets.
func dataOf(t *testing.T, text string) (d data) {
	t.Helper()
	_, after, _ := strings.Cut(text, `<script type="application/json" id="data">`)
	inside, _, found := strings.Cut(after, "</script>")
	if err := json.Unmarshal([]byte(inside), &d); err != nil || !found {
		t.Fatalf("the data cannot be read: %v", err)
	}
	return d
}

func TestWrite(t *testing.T) {
	a := audittest.Sample(3000)
	text := write(t, a)
	for _, want := range []string{"<title>Audit of samtools-1.21</title>", "The record is complete.", "default-src 'none'", "hdjail 1.0",
		"libbz2-dev 1.0.8-5&#43;b1", "notification 1 every call, inferred results"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	// What looks like an address are only the names of the two vocabularies that the script makes elements of.
	own := strings.NewReplacer("http://www.w3.org/2000/svg", "", "http://www.w3.org/1999/xhtml", "", `href="#accesses"`, "").Replace(text)
	if found := regexp.MustCompile(`(?i)(src|href)=|url\(|@import|https?://`).FindAllString(own, -1); len(found) > 0 {
		t.Errorf("the page refers to something else: %q", found)
	}
	d := dataOf(t, text)
	if len(d.Rows.Path) != 3000 || len(d.Processes) != len(a.Processes) {
		t.Fatalf("%d rows, %d processes", len(d.Rows.Path), len(d.Processes))
	}
	for i, access := range a.Accesses {
		if d.Rows.Path[i] != access.Path || d.Verdicts[d.Rows.Verdict[i]] != access.Verdict || d.Rows.Count[i] != access.Count ||
			d.Ops[d.Rows.Op[i]] != string(access.Op) || d.Processes[d.Rows.Process[i]].PID != a.Processes[access.Process-1].PID {
			t.Errorf("row %d is not %+v", i, access)
		}
	}
}

// TestWriteStates: what the head says of a record.
func TestWriteStates(t *testing.T) {
	for want, change := range map[string]func(*audit.Header){
		"Nothing was recorded.":          func(h *audit.Header) { h.Observers = nil },
		"The record is not complete.":    func(h *audit.Header) { h.Complete, h.IncompleteReasons = false, []string{"a canary is missing"} },
		"a canary is missing":            func(h *audit.Header) { h.Complete, h.IncompleteReasons = false, []string{"a canary is missing"} },
		"Not enforced":                   func(h *audit.Header) { h.Enforced.Missing = []string{"limit of memory"} },
		"Degradations that were allowed": func(h *audit.Header) { h.Degradations = []string{"netns"} },
		"Audit of make -j4":              func(h *audit.Header) { h.Name, h.Command = "run", []string{"make", "-j4"} },
	} {
		a := audittest.Sample(10)
		change(&a.Header)
		if !strings.Contains(write(t, a), want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if text := write(t, &audit.Audit{}); !strings.Contains(text, "Nothing outside the whitelist was wanted") {
		t.Error("an empty audit has findings")
	}
}

func TestWriteHostile(t *testing.T) {
	text := write(t, audittest.HostileAudit())
	checkMarkup(t, text)
	if d := dataOf(t, text); len(d.Rows.Path) != len(audittest.Hostile()) || d.Rows.Path[0] != "/h/"+audittest.Hostile()[0] {
		t.Errorf("rows %q", d.Rows.Path)
	}
}

// checkMarkup: no text of an audit became markup, or a byte that is none of HTML.
func checkMarkup(t *testing.T, text string) {
	t.Helper()
	lower := strings.ToLower(text)
	for tag, want := range map[string]int{"<script": 2, "</script": 2, "<style": 1, "</style": 1, "<img": 0, "<!--": 0, "<iframe": 0, "<base": 0, "<link": 0, "<title": 1} {
		if n := strings.Count(lower, tag); n != want {
			t.Errorf("the page has %d %s, want %d", n, tag, want)
		}
	}
	if found := regexp.MustCompile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u0080-\u009f\u2028\u2029\u202a-\u202e]").FindString(text); found != "" {
		t.Errorf("the page has the character %q", found)
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("full") }

func TestWriteFails(t *testing.T) {
	if err := Write(full{}, audittest.Sample(10), ""); err == nil {
		t.Error("no error")
	}
}

func FuzzWrite(f *testing.F) {
	for _, text := range audittest.Hostile() {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		a := audittest.HostileAudit()
		a.Header.Name, a.Header.Kernel, a.Header.Whitelist.Paths = text, text, []string{text}
		a.Accesses[0].Path, a.Processes[0].Exe, a.Accesses[1].Reason, a.Accesses[2].Owners[0].Package = text, text, text, text
		page := write(t, a)
		checkMarkup(t, page)
		dataOf(t, page)
	})
}
