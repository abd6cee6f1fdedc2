package audit

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"hdjail/policies"
)

func example() *Audit {
	return &Audit{
		Header: Header{Format: Format, Name: "png-1", Mode: "hide", System: "x86_64-linux", Kernel: "6.18", Recorded: "all",
			Observers: []Observer{{Name: "notification"}}, Enforced: Enforced{Tier: "full", Filters: true},
			Start: time.Unix(1e9, 5).UTC(), Duration: time.Second, Complete: true,
			Counters: Counters{Events: 7, Unique: 3, Verdicts: map[policies.Verdict]int64{policies.Hidden: 1, policies.Allowed: 2}}},
		Processes: []Process{{ID: 1, PID: 2, Exe: "/usr/bin/dash", Argv: []string{"/bin/sh", "-eu"}},
			{ID: 2, PID: 9, Parent: 1, Exe: "/usr/bin/\xff", Argv: []string{"a\xfe", ""}, Cwd: "/b\xff", Start: 3}},
		Accesses: []Access{
			{Op: policies.OpProbe, Path: "/usr/include/zlib.h", Errno: 2, Inferred: true, Verdict: policies.Hidden, Count: 4,
				Process: 2, Owners: []Owner{{Package: "zlib1g-dev", Version: "1:1.2.13"}}, Host: &HostFile{Type: "file", Inode: 7}},
			{Op: policies.OpRead, Path: "/b/a\n\xff", Resolved: "/c\xff", Via: []string{"/b"}, Verdict: policies.Allowed, Count: 2, Process: 1},
			{Op: policies.OpRead, Path: "/b/c", Errno: 4000, Verdict: policies.Allowed, Count: 1},
		},
		Events: []Event{{Name: "survivor:killed", Detail: "1 process", Time: 5}},
		Output: []byte(`{"elf":[]}`),
	}
}

func file(t *testing.T, a *Audit) []byte {
	t.Helper()
	var b bytes.Buffer
	err := Write(&b, a.Header, a.Processes, a.All, Rest{a.Events, a.Output})
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func lines(t *testing.T, a *Audit) string {
	t.Helper()
	decoder, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer decoder.Close()
	text, err := decoder.DecodeAll(file(t, a), nil)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func document(t *testing.T, a *Audit) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := a.WriteDocument(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestRoundTrip(t *testing.T) {
	for name, form := range map[string][]byte{"file": file(t, example()), "lines": []byte(lines(t, example())), "document": document(t, example())} {
		got, err := Read(bytes.NewReader(form))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(example(), got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// TestNames: these names are what other programs read.
func TestNames(t *testing.T) {
	text := string(document(t, example()))
	for _, want := range []string{`"mode":"hide"`, `"complete":true`, `"lost":0`, `"observers":[{"name":"notification"}]`, `"enforced":{`,
		`"counts":{"allowed":2,"hidden":1}`, `"events":[{"name":"survivor:killed"`, `"path":"/usr/include/zlib.h"`, `"op":"probe"`,
		`"verdict":"hidden"`, `"count":4`, `"errno":"ENOENT"`, `"errno":null`, `"errno":"errno-4000"`, `"package":"zlib1g-dev"`,
		`"package":null`, `"package_version":"1:1.2.13"`, `"process":{"pid":9,"exe":"/usr/bin/` + "\uFFFD" + `"`,
		`"parents":[{"pid":2,"exe":"/usr/bin/dash"}]`, `"path":"/b/a\n` + "\uFFFD" + `","path_b64":"L2IvYQr/"`} {
		if !strings.Contains(text, want) {
			t.Errorf("the document lacks %s:\n%s", want, text)
		}
	}
}

func TestReadRefuses(t *testing.T) {
	whole := lines(t, example())
	first, rest, _ := strings.Cut(whole, "\n")
	for name, bad := range map[string]string{
		"empty": "", "no audit": "hello", "other JSON": `{"a":1}`, "a list": "[]", "null": "null",
		"binary": "\x28\xb5\x2f\xfd" + strings.Repeat("\xff", 64), "no header": rest, "two headers": first + "\n" + whole,
		"after the end": whole + first + "\n", "changed": strings.Replace(whole, "zlib.h", "zlob.h", 1),
		"a line less":   strings.Replace(whole, strings.SplitAfter(whole, "\n")[3], "", 1),
		"no operation":  strings.Replace(whole, `"op":"read"`, `"op":"rad"`, 1),
		"no verdict":    strings.Replace(whole, `"verdict":"hidden"`, `"verdict":"x"`, 1),
		"no errno":      strings.Replace(whole, `"ENOENT"`, `"EXYZ"`, 1),
		"bad base64":    strings.Replace(whole, `"path_b64":"`, `"path_b64":"*`, 1),
		"unknown line":  strings.Replace(whole, `{"line":"event"`, `{"line":"evil"`, 1),
		"own parent":    strings.Replace(whole, `"parent":1`, `"parent":2`, 1),
		"long":          first + "\n" + `{"line":"` + strings.Repeat("x", 2*maxLine),
		"document more": string(document(t, example())) + "{}",
	} {
		_, err := Read(strings.NewReader(bad))
		var m *MalformedError
		var f *FormatError
		if !errors.As(err, &m) && !errors.As(err, &f) {
			t.Errorf("%s: error %v", name, err)
		}
	}
	for _, other := range []string{strings.Replace(whole, `"format":1`, `"format":2`, 1), strings.Replace(string(document(t, example())), `"format":1`, `"format":7`, 1)} {
		var f *FormatError
		if _, err := Read(strings.NewReader(other)); !errors.As(err, &f) {
			t.Errorf("another version: error %v", err)
		}
	}
}

func TestReadTruncated(t *testing.T) {
	text, packed := lines(t, example()), file(t, example())
	for _, cut := range []string{text[:len(text)-1], text[:len(text)/2], string(packed[:len(packed)-4])} {
		a, err := Read(strings.NewReader(cut))
		var early *TruncatedError
		if !errors.As(err, &early) || a == nil || a.Header.Complete || len(a.Header.IncompleteReasons) != 1 {
			t.Errorf("cut to %d bytes: %+v, error %v", len(cut), a, err)
		}
	}
}

func FuzzRead(f *testing.F) {
	var b bytes.Buffer
	a := example()
	if err := a.WriteDocument(&b); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add([]byte(`{"line":"header","format":1,"complete":true}` + "\n" + `{"line":"access","op":"read","path":"/a","verdict":"absent","count":1,"errno":"ENOENT"}` + "\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := Read(bytes.NewReader(data))
		if err != nil {
			return
		}
		again, err := Read(bytes.NewReader(document(t, a)))
		if err != nil {
			t.Fatalf("what was read cannot be written and read again: %v", err)
		}
		if len(again.Accesses) != len(a.Accesses) || len(again.Processes) != len(a.Processes) {
			t.Fatal("the document lost something")
		}
	})
}
