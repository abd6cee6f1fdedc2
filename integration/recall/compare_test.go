package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// sample is a trace below dir of a run in mode log.
func sample(dir string) string {
	return strings.ReplaceAll(`10 execve("/usr/bin/strace-no", ["x"], 0x1 /* 1 var */) = -1 ENOENT (No such file or directory)
10 openat(AT_FDCWD<D>, "f", O_RDONLY) = 3<D/f>
10 openat(AT_FDCWD<D>, "f", O_RDONLY) = 3<D/f>
10 openat(AT_FDCWD<D>, "out", O_RDONLY) = 3<D/out>
10 access("/etc/passwd", F_OK) = 0
10 openat(AT_FDCWD<D>, "/etc/passwd", O_WRONLY) = -1 EROFS (Read-only file system)
10 access("/nowhere/at/all", F_OK) = -1 ENOENT (No such file or directory)
10 mkdir("", 0777) = -1 ENOENT (No such file or directory)
10 access("gone", F_OK) = -1 ENOENT (No such file or directory)
10 stat("/", {st_mode=S_IFDIR|0755, st_size=4096, ...}) = 0
10 getdents64(3</etc>, 0x1 /* 2 entries */, 32768) = 280
10 readlink("/proc/10/cwd", "D", 4095) = 9
`, "D", dir)
}

type written struct {
	Op      string `json:"op"`
	Path    string `json:"path"`
	Errno   any    `json:"errno"`
	Verdict string `json:"verdict"`
	Count   int    `json:"count"`
	Process any    `json:"process"`
	Flags   any    `json:"flags"`
}

// faithful is the audit that the sample deserves.
func faithful(dir string) []written {
	return []written{
		{"exec", "/usr/bin/strace-no", "ENOENT", "absent", 1, nil, nil},
		{"read", dir + "/f", nil, "allowed", 2, nil, nil},
		{"read", dir + "/out", nil, "leaked", 1, nil, nil},
		{"probe", "/etc/passwd", nil, "leaked", 1, nil, nil},
		{"write", "/etc/passwd", "EROFS", "denied", 1, nil, nil},
		{"probe", "/nowhere/at/all", "ENOENT", "absent", 1, nil, nil},
		{"probe", dir + "/gone", "ENOENT", "absent", 1, nil, nil},
		{"probe", "/", nil, "allowed", 1, nil, nil},
		{"list", "/etc", nil, "leaked", 1, nil, nil},
		{"readlink", "/proc/self/cwd", nil, "allowed", 1, nil, nil},
		{"create", dir, "ENOENT", "absent", 1, nil, nil}, // nothing was typed
		// What strace, or the kernel, did beside.
		{"exec", "/usr/bin/strace", nil, "leaked", 1, map[string]any{"pid": 9, "exe": "/usr/bin/strace"}, nil},
		{"readlink", "/proc/<pid>/fd/3", nil, "allowed", 900, map[string]any{"pid": 9, "exe": "/usr/bin/strace"}, nil},
		{"exec", "/lib64/ld.so", nil, "leaked", 1, nil, []string{"implicit"}},
	}
}

func TestGates(t *testing.T) {
	for _, test := range []struct {
		name string
		edit func([]written) []written
		// missed is a line of the report, empty if all gates are met.
		missed string
	}{
		{"faithful", func(w []written) []written { return w }, ""},
		{"an entry less", func(w []written) []written { return append(w[:1:1], w[2:]...) }, "missing path: 2 x read D/f ok*2"},
		{"a leak less", func(w []written) []written { return append(w[:3:3], w[4:]...) }, "missing outside: 1 x leaked probe /etc/passwd ok*1"},
		{"an event less", func(w []written) []written { w[1].Count = 1; return w }, "missing events: 1 x read D/f ok*2"},
		{"another outcome", func(w []written) []written { w[7].Errno = "EACCES"; return w }, "outcome: 1 x probe / ok*1 here probe / EACCES*1"},
		{"another verdict", func(w []written) []written { w[3].Verdict = "allowed"; return w }, "verdict: 1 x allowed instead of leaked: probe /etc/passwd ok*1"},
		{"a link out of the whitelist", func(w []written) []written { w[2].Verdict = "allowed"; return w }, "verdict: 1 x allowed instead of leaked: read D/out ok*1"},
		{"an entry more", func(w []written) []written { return append(w, written{"read", "/x", nil, "leaked", 1, nil, nil}) }, "unexplained: 1 x read /x ok*1"},
		{"an event more", func(w []written) []written { w[1].Count = 3; return w }, "unexplained: 1 x read D/f ok*3, strace has read D/f ok*2"},
		{"not in normal form", func(w []written) []written { w[1].Path = strings.TrimSuffix(w[1].Path, "f") + "./f"; return w }, "normal form: 2 x read D/./f"},
	} {
		dir := t.TempDir()
		if err := os.Symlink("/etc/passwd", filepath.Join(dir, "out")); err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(map[string]any{"mode": "log", "complete": true, "accesses": test.edit(faithful(dir))})
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		met := judgeFiles(t, &out, dir, string(text))
		if met != (test.missed == "") || !strings.Contains(strings.ReplaceAll(out.String(), dir, "D"), test.missed) {
			t.Errorf("%s: gates met: %v, the report lacks %q:\n%s", test.name, met, test.missed, out.String())
		}
	}
}

func judgeFiles(t *testing.T, out *bytes.Buffer, dir, audit string) bool {
	t.Helper()
	files := t.TempDir()
	trace, document := filepath.Join(files, "trace"), filepath.Join(files, "audit")
	for path, text := range map[string]string{trace: sample(dir), document: audit} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	j := []string{"-trace", trace, "-audit", document, "-cwd", dir, "-own", dir}
	met, err := run(j, out)
	if err != nil {
		t.Fatal(err)
	}
	return met
}

func TestIncomplete(t *testing.T) {
	dir := t.TempDir()
	var out bytes.Buffer
	if judgeFiles(t, &out, dir, `{"mode":"log","complete":false,"incomplete_reasons":["a canary is missing"],"accesses":[]}`) ||
		!strings.Contains(out.String(), "a canary is missing") {
		t.Errorf("an incomplete record passed:\n%s", out.String())
	}
}

func TestReadDocumentRefuses(t *testing.T) {
	for _, text := range []string{"", "{}", `{"mode":"log","complete":true}`, `{"mode":"log","complete":true,"accesses":[{"path":"/x"}]}`,
		`{"mode":"log","complete":true,"accesses":[{"path":"/x","op":"read","verdict":"allowed","count":1,"path_b64":"*"}]}`} {
		if _, err := readDocument(strings.NewReader(text)); err == nil {
			t.Errorf("%s was read", text)
		}
	}
}
