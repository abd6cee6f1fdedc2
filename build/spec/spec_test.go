package spec

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"hdjail/artifact"
	"hdjail/artifact/match"
	"hdjail/jail"
	"hdjail/policies"
	"hdjail/profile/links"
)

var update = flag.Bool("update", false, "write the golden files")

const full = `hdjail: 1
name: libpng
version: 1.10   # a number, kept as typed
sources:
  - sha256: 00000000000000000000000000000000000000000000000000000000000000AA
    urls: [https://example.org/libpng-1.10.tar.gz, "debsrc:libpng/libpng_1.10.orig.tar.gz"]
  - {git: 0123456789012345678901234567890123456789, urls: [https://example.org/r.git], target: ./sub/dir/}
  - {blake3: bb00000000000000000000000000000000000000000000000000000000000000, target: a/data.bin, unpack: none}
  - {path: ../local/notes.txt, unpack: none}
dependencies:
  - spec: zlib.yaml
  - {id: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa, as: TRAIN, many: true, match: only}
host:
  packages: [gcc, "libc6:i386"]
  paths: [/opt/cc, {path: /opt/lic/, id: v7}]
environment: {CFLAGS: -O2, LEVEL: 3, DEBUG: true, RATIO: 1.50, EMPTY: ""}
interpreter: /bin/bash -eu
script: |
  ./configure
  make
promises: [lib/libpng.so, ./include//png.h, {path: bin/png, kind: exec, name: tool}]
policy: default
mode: log
network: none
limits: {memory: 2GiB, pids: 100, cpu: 1.5, wall: 2h, silence: 90, output: 10 MB, log: 1048576}
match: only
links:
  - {select: "bin/*", prefix: bin/, target: tools, exclude: [bin/x]}
`

func mustMatcher(t *testing.T) match.Matcher {
	m, err := match.Parse("only")
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestParse(t *testing.T) {
	only, prefix, target := mustMatcher(t), "bin/", "tools"
	want := &Spec{
		File: "f.yaml", Format: 1, Name: "libpng", Version: "1.10",
		Sources: []Source{
			{SHA256: strings.Repeat("0", 62) + "aa", Unpack: true,
				URLs: []string{"https://example.org/libpng-1.10.tar.gz", "debsrc:libpng/libpng_1.10.orig.tar.gz"}},
			{Git: "0123456789012345678901234567890123456789", URLs: []string{"https://example.org/r.git"}, Target: "sub/dir", Unpack: true},
			{BLAKE3: "bb" + strings.Repeat("0", 62), Target: "a/data.bin"},
			{Path: "../local/notes.txt", Target: "notes.txt"},
		},
		Dependencies: []Dependency{{Spec: "zlib.yaml"}, {ID: strings.Repeat("a", 32), As: "TRAIN", Many: true, Match: only}},
		Host:         Host{Packages: []string{"gcc", "libc6:i386"}, Paths: []HostPath{{Path: "/opt/cc"}, {Path: "/opt/lic", ID: "v7"}}},
		Environment:  map[string]string{"CFLAGS": "-O2", "LEVEL": "3", "DEBUG": "true", "RATIO": "1.50", "EMPTY": ""},
		Interpreter:  []string{"/bin/bash", "-eu"}, Script: "./configure\nmake\n",
		Promises: []artifact.Promise{artifact.Exists("lib/libpng.so"), artifact.Exists("include/png.h"), {Path: "bin/png", Kind: "exec", Name: "tool"}}, Policy: "default", Mode: policies.ModeLog, Network: "none",
		Limits: Limits{Memory: 2 << 30, Pids: 100, CPU: 1.5, Wall: 2 * time.Hour, Silence: 90 * time.Second, Output: 10e6, Log: 1 << 20},
		Match:  only,
		Links:  []links.Rule{{Select: links.Globs{"bin/*"}, Prefix: &prefix, Target: &target, Exclude: links.Globs{"bin/x"}}},
	}
	got, err := Parse("f.yaml", []byte(full))
	if err != nil {
		t.Fatal(err)
	}
	opts := cmp.Options{cmpopts.IgnoreUnexported(Spec{}), cmp.Comparer(func(a, b match.Matcher) bool {
		return (a == nil) == (b == nil) && (a == nil || a.String() == b.String())
	})}
	if diff := cmp.Diff(want, got, opts); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	digests := []string{"sha256:" + got.Sources[0].SHA256, "git:" + got.Sources[1].Git, "blake3:" + got.Sources[2].BLAKE3, ""}
	for i, s := range got.Sources {
		if s.Digest() != digests[i] {
			t.Errorf("source %d: digest %q, want %q", i, s.Digest(), digests[i])
		}
	}
	limits := got.Limits.Over(jail.Limits{Memory: 1, Pids: 2, Log: 3})
	if limits.Memory != 2<<30 || limits.Pids != 100 || limits.Log != 1<<20 || limits.Wall != 2*time.Hour {
		t.Errorf("limits over defaults: %+v", limits)
	}
	if got := (Limits{}).Over(jail.Limits{Memory: 1}); got != (jail.Limits{Memory: 1}) {
		t.Errorf("no limits over defaults: %+v", got)
	}
}

func TestDefaults(t *testing.T) {
	for name, text := range map[string]string{
		"minimal.yaml": "hdjail: 1\nname: x\nscript: 'true'\n",
		"minimal.json": `{"hdjail": 1, "name": "x", "script": "true"}`,
		"crlf.yaml":    "# c\r\n---\r\nhdjail: 1\r\nname: x\r\nscript: 'true'\r\n...\r\n",
		"anchor.yaml":  "hdjail: 1\nname: &n x\nscript: 'true'\nversion: *n\n",
	} {
		s, err := Parse(name, []byte(text))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if s.Name != "x" || s.Script != "true" || s.Mode != policies.ModeHide || s.Policy != DefaultPolicy || s.Network != "none" ||
			strings.Join(s.Interpreter, " ") != "/bin/sh -eu" || s.Match != nil || s.Links != nil {
			t.Errorf("%s: %+v", name, s)
		}
	}
	s, err := Parse("f", []byte("hdjail: 1\nname: x\nscript: a\nlinks: []\n"))
	if err != nil || s.Links == nil {
		t.Errorf("an empty list of links: %v, %v; want one that links nothing", s, err)
	}
}

// TestScriptLineEnds: what an editor does to line ends never changes what runs.
func TestScriptLineEnds(t *testing.T) {
	unix, err := Parse("f", []byte(full))
	if err != nil {
		t.Fatal(err)
	}
	dos, err := Parse("f", []byte(strings.ReplaceAll(full, "\n", "\r\n")))
	if err != nil {
		t.Fatal(err)
	}
	if unix.Script != dos.Script {
		t.Errorf("scripts differ: %q, %q", unix.Script, dos.Script)
	}
}

const good = "hdjail: 1\nname: x\nscript: a\n"

// TestErrors compares every mistake with testdata/errors.golden: place, line, message, help.
func TestErrors(t *testing.T) {
	with := func(more string) string { return good + more }
	cases := []struct{ name, text string }{
		{"empty", ""},
		{"comment only", "# nothing\n"},
		{"not a mapping", "- a\n"},
		{"scalar", "hello\n"},
		{"unknown key", with("dependancies: []\n")},
		{"unknown key far off", with("zzzzzzzz: 1\n")},
		{"unknown nested key", with("host:\n  package: [gcc]\n")},
		{"unknown key in item", with("sources:\n  - path: a\n    targets: b\n")},
		{"duplicate key", with("name: y\n")},
		{"duplicate nested key", with("environment:\n  A: 1\n  A: 2\n")},
		{"missing name", "hdjail: 1\nscript: a\n"},
		{"missing format", "name: x\nscript: a\n"},
		{"wrong format", "hdjail: 2\nname: x\nscript: a\n"},
		{"format as string", "hdjail: \"1\"\nname: x\nscript: a\n"},
		{"second document", with("---\nname: y\n")},
		{"tab indentation", "hdjail: 1\nhost:\n\tpackages: []\n"},
		{"unclosed quote", "hdjail: 1\nname: \"x\n"},
		{"unclosed flow", "hdjail: 1\nhost: {packages: [gcc\n"},
		{"byte order mark", "\ufeff" + good},
		{"not UTF-8", "hdjail: 1\nname: \xff\n"},
		{"control character", "hdjail: 1\nname: a\x01\n"},
		{"NUL", "hdjail: 1\nname: a\x00\n"},
		{"escaped NUL", with("environment: {A: \"a\\0b\"}\n")},
		{"too deep in flow", "a: " + strings.Repeat("[", 40) + strings.Repeat("]", 40)},
		{"too deep in blocks", "a: \n  " + strings.Repeat("- ", 300) + "x\n"},
		{"tag", with("version: !!str 1\n")},
		{"merge key", with("environment: {<<: {A: b}}\n")},
		{"unknown alias", with("version: *v\n")},
		{"alias of itself", with("sources: &a [*a]\n")},
		{"list for string", "hdjail: 1\nname: [x]\nscript: a\n"},
		{"null for string", "hdjail: 1\nname:\nscript: a\n"},
		{"number for string", "hdjail: 1\nname: x\nscript: 5\n"},
		{"string for list", with("promises: bin/x\n")},
		{"string for mapping", with("host: gcc\n")},
		{"empty script", "hdjail: 1\nname: x\nscript: \"\"\n"},
		{"name with slash", "hdjail: 1\nname: a/b\nscript: a\n"},
		{"name with dots", "hdjail: 1\nname: ..\nscript: a\n"},
		{"name with newline", "hdjail: 1\nname: \"a\\n\"\nscript: a\n"},
		{"name too long", "hdjail: 1\nname: " + strings.Repeat("a", 101) + "\nscript: a\n"},
		{"version with space", with("version: 1 2\n")},
		{"no identity", with("sources: [{urls: [http://x/y]}]\n")},
		{"two identities", with("sources:\n- path: a\n  git: 0123456789012345678901234567890123456789\n")},
		{"short digest", with("sources: [{sha256: abcd}]\n")},
		{"digest not hexadecimal", with("sources: [{git: zz23456789012345678901234567890123456789}]\n")},
		{"urls of a path", with("sources: [{path: a, urls: [http://x]}]\n")},
		{"not a URL", with("sources: [{git: 0123456789012345678901234567890123456789, urls: [--upload-pack=x]}]\n")},
		{"file without target", with("sources: [{sha256: " + strings.Repeat("a", 64) + ", unpack: none}]\n")},
		{"unpacked git", with("sources: [{git: 0123456789012345678901234567890123456789, unpack: none}]\n")},
		{"unknown unpack", with("sources: [{path: a, unpack: maybe}]\n")},
		{"absolute target", with("sources: [{path: a, target: /b}]\n")},
		{"target with dots", with("sources: [{path: a, target: b/../c}]\n")},
		{"dependency of nothing", with("dependencies: [{as: A}]\n")},
		{"dependency of two", with("dependencies: [{spec: a, id: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa}]\n")},
		{"bad derivation", with("dependencies: [{id: abc}]\n")},
		{"bad as", with("dependencies: [{spec: a, as: 1A}]\n")},
		{"many not boolean", with("dependencies: [{spec: a, many: 1}]\n")},
		{"bad matcher", with("match: newest\n")},
		{"bad package", with("host: {packages: [\"a b\"]}\n")},
		{"relative host path", with("host: {paths: [opt/x]}\n")},
		{"host path with dots", with("host: {paths: [/opt/../etc]}\n")},
		{"whole host", with("host: {paths: [/]}\n")},
		{"host path in proc", with("host: {paths: [/proc/self]}\n")},
		{"host path in run", with("host: {paths: [{path: /run}]}\n")},
		{"whole tmp", with("host: {paths: [/tmp/]}\n")},
		{"all homes", with("host: {paths: [/home]}\n")},
		{"host path without path", with("host: {paths: [{id: a}]}\n")},
		{"bad variable", with("environment: {A-B: c}\n")},
		{"reserved variable", with("environment: {ARTIFACT: c}\n")},
		{"variable of nothing", with("environment:\n  A:\n")},
		{"variable of a list", with("environment: {A: [b]}\n")},
		{"relative interpreter", with("interpreter: sh -e\n")},
		{"interpreter in proc", with("interpreter: [/proc/self/exe]\n")},
		{"empty interpreter", with("interpreter: []\n")},
		{"absolute promise", with("promises: [bin/a, /bin/x]\n")},
		{"promise with dots", with("promises: [../x]\n")},
		{"promise of all", with("promises: [.]\n")},
		{"kind of promise", with("promises: [{path: a, kind: fine}]\n")},
		{"promised digest", with("promises: [{path: a, kind: sha256=abc}]\n")},
		{"promise without path", with("promises: [{kind: elf}]\n")},
		{"typed promise with dots", with("promises: [{path: a/../../b, kind: elf}]\n")},
		{"promises of one name", with("promises: [{path: a, name: x}, {path: b, name: x}]\n")},
		{"matcher", with("match: newest\n")},
		{"matcher of a dependency", with("dependencies: [{spec: a, match: some(0)}]\n")},
		{"unknown mode", with("mode: strict\n")},
		{"network", with("network: host\n")},
		{"bad size", with("limits: {memory: 2 gigs}\n")},
		{"negative size", with("limits: {memory: -1}\n")},
		{"huge size", with("limits: {memory: 99999999TiB}\n")},
		{"huge number", with("limits: {pids: 99999999999999999999}\n")},
		{"bad duration", with("limits: {wall: 2 hours}\n")},
		{"zero cpu", with("limits: {cpu: 0}\n")},
		{"not a number", with("limits: {cpu: .nan}\n")},
		{"unknown limit", with("limits: {walls: 1}\n")},
		{"bad link action", with("links: [{action: move, select: a}]\n")},
		{"link of nothing", with("links:\n- select: [a]\n- {}\n")},
		{"JSON unknown key", "{\"hdjail\": 1,\n \"naem\": \"x\"}"},
		{"JSON duplicate key", "{\"hdjail\": 1, \"name\": \"x\",\n  \"name\": \"y\", \"script\": \"\"}"},
		{"JSON type", "{\"hdjail\": 1,\n  \"host\": {\"packages\": [\"a\", 7.5e1, null]}}"},
	}
	var got strings.Builder
	for _, c := range cases {
		_, err := Parse("spec.yaml", []byte(c.text))
		e, ok := err.(*Error)
		if !ok {
			t.Errorf("%s: %v; want *Error", c.name, err)
			continue
		}
		fmt.Fprintf(&got, "# %s\n%s\n", c.name, e)
		if e.Source != "" {
			fmt.Fprintf(&got, "  | %s\n", e.Source)
		}
		if e.Help != "" {
			fmt.Fprintf(&got, "  help: %s\n", e.Help)
		}
	}
	for _, c := range []struct{ name, text string }{
		{"JSON syntax", "{\"hdjail\": 1,\n  \"name\" \"x\"}"},
		{"JSON truncated", "{\"hdjail\": 1,\n  \"name\": [\"x\""},
		{"JSON trailing", "{\"hdjail\": 1}\n {}"},
		{"JSON deep", strings.Repeat("[", 100)},
		{"JSON empty", ""},
	} {
		_, err := Parse("spec.json", []byte(c.text))
		fmt.Fprintf(&got, "# %s\n%v\n", c.name, err)
	}
	golden(t, "testdata/errors.golden", got.String())
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got, -update writes it):\n%s", file, diff)
	}
}

// TestBounds: what is hostile is refused soon, and does not overflow the stack of the parser, which recurses.
func TestBounds(t *testing.T) {
	const long = MaxBytes / 16
	for name, text := range map[string]string{
		"size":     "hdjail: 1\n#" + strings.Repeat("x", MaxBytes),
		"brackets": strings.Repeat("[", long),
		"braces":   strings.Repeat("{a: ", long/4),
		"dashes":   strings.Repeat("- ", long/2),
		"keys":     strings.Repeat("? ", long/2),
		"anchors":  strings.Repeat("&a ", long/3),
		"tags":     strings.Repeat("!a ", long/3),
		"aliases":  good + "sources: [&s {urls: &u [" + strings.Repeat("a:b,", 20000) + "]" + strings.Repeat(", *s", 99) + "}]",
		"bomb":     good + "promises: [&a [x,x],&b [*a,*a],&c [*b,*b]]\n",
	} {
		if s, err := Parse("f", []byte(text)); err == nil {
			t.Errorf("%s: accepted as %v", name, s.Name)
		} else if e, ok := err.(*Error); !ok || len(e.Error()) > 500 || len(e.Source) > longestExcerpt {
			t.Errorf("%s: %T of %d bytes", name, err, len(err.Error()))
		}
	}
}

func TestErrorAt(t *testing.T) {
	s, err := Parse("d/f.yaml", []byte(good+"dependencies:\n  - spec: a\n  - spec: b\nhost:\n  packages: [gcc, make]\n"))
	if err != nil {
		t.Fatal(err)
	}
	cause := os.ErrNotExist
	for _, c := range []struct {
		key   string
		index int
		want  string
	}{
		{"dependencies", 1, "d/f.yaml:6:5"}, {"host.packages", 1, "d/f.yaml:8:19"}, {"name", -1, "d/f.yaml:2:7"},
		{"host", -1, "d/f.yaml:8:3"}, {"policy", -1, "d/f.yaml:1:1"}, {"host.packages", 9, "d/f.yaml:1:1"},
	} {
		e := s.ErrorAt(c.key, c.index, cause, "")
		if at := fmt.Sprintf("%s:%d:%d", e.File, e.Line, e.Column); at != c.want || e.Unwrap() != cause {
			t.Errorf("%s %d: at %s, want %s", c.key, c.index, at, c.want)
		}
	}
}
