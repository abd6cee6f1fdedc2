package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"hdjail/artifact"
	"hdjail/artifact/closure"
	"hdjail/artifact/compare"
	"hdjail/artifact/lease"
	"hdjail/artifact/match"
	"hdjail/artifact/pack"
	"hdjail/artifact/store"
	"hdjail/artifact/tree"
	"hdjail/artifact/verify"
	"hdjail/build"
	"hdjail/build/daemon"
	"hdjail/build/daemon/client"
	"hdjail/build/daemon/rules"
	"hdjail/build/daemon/sitelog"
	"hdjail/build/daemon/wire"
	"hdjail/build/lens"
	"hdjail/build/lockfile"
	"hdjail/build/plan"
	"hdjail/build/recording"
	"hdjail/build/sources"
	"hdjail/build/sources/debsrc"
	"hdjail/build/sources/unpack"
	"hdjail/build/spec"
	"hdjail/hostpkgs"
	hosttree "hdjail/hostpkgs/tree"
	"hdjail/jail"
	"hdjail/mounts"
	"hdjail/policies"
	"hdjail/policies/audit"
	"hdjail/profile"
	"hdjail/profile/links"
	"hdjail/profile/public"
)

// conflict is what becomes of two artifacts with one path.
func conflict(t *testing.T) error {
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/a", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	one := links.Set{Owner: "one", Rules: links.Everything(), Tree: links.Dir{Root: root}, Dir: "/1"}
	two := one
	two.Owner, two.Dir = "two", "/2"
	_, err = links.Plan(links.Input{Sets: []links.Set{one, two}, Dir: "/p", Native: true})
	return err
}

func TestConflict(t *testing.T) {
	p := diagnose(conflict(t))
	if p.Code != "HJ0060" || p.Exit != exitOther || !strings.Contains(p.Text, "one") || !strings.Contains(p.Text, "two") ||
		len(p.Help) != 1 || !strings.Contains(p.Help[0], `"exclude"`) {
		t.Errorf("%+v", p)
	}
}

// diagnosed has every typed error of ours, and what becomes of it.
var diagnosed = []struct {
	err  error
	code string
	exit int
}{
	{errors.New("odd"), "HJ0001", 1},
	{fs.ErrNotExist, "HJ0001", 1},
	{&usageError{"u", "h"}, "HJ0002", 2},
	{context.Canceled, "HJ0003", 130},
	{&build.Skipped{Err: context.Canceled}, "HJ0003", 130},
	{&spec.Error{Message: "m"}, "HJ0010", 6},
	{&spec.Error{Err: fs.ErrNotExist}, "HJ0010", 6},
	{&spec.Error{Err: &store.NotFoundError{What: "derivation"}}, "HJ0052", 6},
	{&spec.Error{Err: &store.SpaceError{Err: syscall.ENOSPC}}, "HJ0051", 1},
	{&spec.Error{Err: &hostpkgs.NotInstalledError{Name: "x"}}, "HJ0011", 6},
	{&spec.Error{Err: context.Canceled}, "HJ0003", 130},
	{&hostpkgs.NotInstalledError{Name: "x"}, "HJ0011", 6},
	{&policies.UnknownPolicyError{Name: "x"}, "HJ0012", 6},
	{&match.ParseError{}, "HJ0013", 6},
	{&lens.Error{}, "HJ0014", 6},
	{&spec.Error{Err: &lens.Error{}}, "HJ0014", 6},
	{&sources.FetchError{Attempts: []sources.Attempt{{URL: "u", Err: fs.ErrNotExist}}}, "HJ0020", 9},
	{&sources.DigestError{}, "HJ0021", 8},
	{&sources.FetchError{Attempts: []sources.Attempt{{URL: "u", Err: &sources.DigestError{}}}}, "HJ0021", 8},
	{&sources.MissingError{Offline: true}, "HJ0022", 9},
	{&sources.ToolError{Tool: "git", Fix: "f"}, "HJ0023", 9},
	{&sources.PackageError{}, "HJ0024", 9},
	{&debsrc.LineError{}, "HJ0024", 9},
	{&sources.BadDigestError{}, "HJ0025", 6},
	{&unpack.Refusal{Kind: "dotdot"}, "HJ0026", 3},
	{&spec.Error{Err: &unpack.Refusal{Kind: "special"}}, "HJ0026", 6},
	{&spec.Error{Err: &tree.RefusedError{Kind: "fifo"}}, "HJ0033", 6},
	{errors.Join(&spec.Error{}, context.Canceled), "HJ0003", 130},
	{&build.Failure{Kind: "exit"}, "HJ0030", 3},
	{&build.Failure{Kind: "something new"}, "HJ0030", 3},
	{&build.Failure{Kind: "illegal-access"}, "HJ0031", 4},
	{&illegalRun{record: &recording.Record{}}, "HJ0031", 4},
	{&build.Failure{Kind: "incomplete"}, "HJ0038", 10},
	{&incompleteError{Name: "x"}, "HJ0038", 10},
	{&build.Failure{Kind: "promise"}, "HJ0032", 3},
	{&build.Failure{Kind: "output", Err: &tree.RefusedError{}}, "HJ0033", 3},
	{&build.Failure{Kind: "timeout"}, "HJ0034", 3},
	{&build.Failure{Kind: "limits"}, "HJ0035", 3},
	{&build.Skipped{Err: &build.Failure{Kind: "promise"}}, "HJ0032", 3},
	{&tree.RefusedError{}, "HJ0033", 3},
	{&build.Unrealized{}, "HJ0036", 1},
	{&build.MatchError{Err: &match.ManyError{Candidates: []artifact.RealizationID{{1}, {2}}}}, "HJ0037", 1},
	{&build.SeveralError{}, "HJ0037", 1},
	{&build.MatchError{Err: &match.AbsentError{}}, "HJ0085", 1},
	{&build.MatchError{Err: &match.QuorumError{}}, "HJ0085", 1},
	{&build.UnsatisfiedError{}, "HJ0085", 1},
	{&build.MatchError{Err: &match.AnswerError{}}, "HJ0086", 1},
	{&plan.ScriptError{}, "HJ0086", 1},
	{&build.MatchError{Err: &build.ChooserError{LogTail: []string{"x"}}}, "HJ0086", 1},
	{&build.MatchError{Err: &jail.Unsupported{}}, "HJ0040", 5},
	{&plan.NameError{Name: "zlb"}, "HJ0002", 2},
	{&jail.Unsupported{Feature: "user namespaces", Fix: "f"}, "HJ0040", 5},
	{&jail.SetupError{Err: &jail.Unsupported{}}, "HJ0040", 5},
	{&jail.SetupError{Err: fs.ErrNotExist}, "HJ0041", 1},
	{&jail.SetupError{Err: syscall.ENOSPC}, "HJ0051", 1},
	{&jail.CommandError{Err: fs.ErrNotExist}, "HJ0042", 1},
	{&mounts.ConflictError{}, "HJ0043", 6},
	{&mounts.TargetError{}, "HJ0043", 6},
	{&hosttree.MountpointError{}, "HJ0043", 6},
	{&store.AccessError{Err: syscall.EROFS}, "HJ0050", 1},
	{&store.SpaceError{Err: syscall.ENOSPC}, "HJ0051", 1},
	{&os.PathError{Err: syscall.EDQUOT}, "HJ0051", 1},
	{&store.NotFoundError{What: "build record"}, "HJ0052", 1},
	{&store.AmbiguousError{}, "HJ0053", 2},
	{&artifact.BadIDError{}, "HJ0053", 2},
	{&tree.AncestorError{}, "HJ0054", 1},
	{&store.FormatError{}, "HJ0055", 1},
	{&lease.LockedError{}, "HJ0056", 11},
	{&artifact.MalformedError{}, "HJ0057", 1},
	{&audit.MalformedError{}, "HJ0070", 1},
	{&audit.FormatError{}, "HJ0071", 1},
	{&audit.TruncatedError{}, "HJ0072", 10},
	{&tree.OrderError{}, "HJ0057", 1},
	{&hostpkgs.LostSnapshotError{}, "HJ0058", 1},
	{&pack.RefusedError{}, "HJ0090", 1},
	{&pack.DigestError{}, "HJ0091", 8},
	{&pack.PrefixError{}, "HJ0092", 1},
	{&pack.MissingError{}, "HJ0093", 1},
	{&pack.InconsistentError{}, "HJ0094", 1},
	{&pack.FormatError{}, "HJ0095", 1},
	{&profile.NotFoundError{}, "HJ0061", 1},
	{&profile.NameError{}, "HJ0062", 2},
	{&links.RuleError{Err: fs.ErrInvalid}, "HJ0063", 6},
	{&links.GlobError{}, "HJ0063", 6},
	{&links.UnsupportedError{}, "HJ0063", 6},
	{&client.Error{Problem: wire.Problem{Code: "HJ0030", Exit: 3}}, "HJ0030", 3},
	{&spec.Error{Err: &client.Error{Problem: wire.Problem{Code: "HJ0011", Exit: 6}}}, "HJ0011", 6},
	{&spec.Error{Err: &rules.Refused{Kind: rules.Policy}}, "HJ0083", 4},
	{&rules.Refused{Kind: rules.Caller}, "HJ0083", 4},
	{&rules.Refused{Kind: rules.Quota}, "HJ0084", 4},
	{&rules.Refused{Kind: rules.Busy}, "HJ0087", 75},
	{daemon.ErrStopped, "HJ0087", 75},
	{&client.LostError{Err: &wire.FrameError{}}, "HJ0088", 1},
	{&wire.FrameError{}, "HJ0088", 1},
	{&wire.TooLargeError{}, "HJ0083", 4},
	{&sitelog.DamageError{}, "HJ0089", 8},
	{&public.LiveError{Witness: &closure.InconsistentError{}}, "HJ0064", 1},
	{&closure.InconsistentError{}, "HJ0065", 1},
	{&store.RootError{Err: syscall.EACCES}, "HJ0080", 1},
	{&store.TakenError{}, "HJ0081", 2},
	{&verify.DamagedError{Problems: []verify.Problem{{Kind: verify.Source}}}, "HJ0082", 8},
	{&lockfile.MismatchError{Why: &compare.Derivations{}}, "HJ0074", 6},
	{&lockfile.UnlockedError{}, "HJ0075", 2},
	{noLockError{}, "HJ0075", 2},
	{&lockfile.MalformedError{}, "HJ0076", 2},
	{&lockfile.VersionError{}, "HJ0077", 2},
	{&lockfile.DifferError{}, "HJ0078", 7},
	{&noWayError{}, "HJ0079", 1},
	{&runError{err: &jail.Unsupported{}, status: 125}, "HJ0040", 125},
	{&runError{err: context.Canceled, status: 125}, "HJ0003", 130},
	{exitStatus(42), "", 42},
	{nil, "", 0},
}

func TestExit(t *testing.T) {
	for _, test := range diagnosed {
		var people bytes.Buffer
		a := &app{out: newOut(nil, &people, false)}
		err := test.err
		if err != nil {
			err = fmt.Errorf("outer: %w", err)
		}
		exit := a.exit(err)
		first, _, _ := strings.Cut(people.String(), "\n")
		if exit != test.exit || test.code != "" && !strings.HasPrefix(first, "error["+test.code+"]: ") {
			t.Errorf("%T %v: exit %d, %q; want %d and %s", test.err, test.err, exit, first, test.exit, test.code)
		}
		if test.code == "" && people.Len() > 0 {
			t.Errorf("%T %v: prints %q", test.err, test.err, people.String())
		}
	}
}

// TestDiagnosesAll: no error type of our packages is forgotten.
func TestDiagnosesAll(t *testing.T) {
	known := map[string]bool{"hdjail/profile/links.ConflictError": true}
	for _, test := range diagnosed {
		for err := test.err; err != nil; err = errors.Unwrap(err) {
			kind := reflect.TypeOf(err)
			if kind.Kind() == reflect.Pointer {
				kind = kind.Elem()
			}
			known[kind.PkgPath()+"."+kind.Name()] = true
		}
	}
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.Contains(path, "cmd/hdjail") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, decl := range file.Decls {
			if name := errorType(decl); ast.IsExported(name) {
				pkg := "hdjail/" + filepath.Dir(strings.TrimPrefix(path, "../../"))
				if !known[pkg+"."+name] {
					t.Errorf("%s.%s: which code is it?", pkg, name)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// errorType is the type that a declaration makes an error, or "".
func errorType(decl ast.Decl) string {
	f, ok := decl.(*ast.FuncDecl)
	if !ok || f.Name.Name != "Error" || f.Recv == nil {
		return ""
	}
	of := f.Recv.List[0].Type
	if star, ok := of.(*ast.StarExpr); ok {
		of = star.X
	}
	name, _ := of.(*ast.Ident)
	return name.Name
}

// TestRefusals: every kind has a meaning and a help line.
func TestRefusals(t *testing.T) {
	for _, kind := range []string{"absolute", "dotdot", "name", "target", "through-symlink", "link-outside", "special", "conflict", "limit", "archive"} {
		for _, name := range []string{"a/b", ""} {
			p := diagnose(&unpack.Refusal{Kind: kind, Name: name})
			if len(p.Help) != 1 || !strings.HasPrefix(p.Text, "refuse ") || strings.Contains(p.Text, ":  (") || !strings.Contains(p.Text, name) {
				t.Errorf("%s: %+v", kind, p)
			}
		}
	}
}

// TestCodes: every code has a text, and is given to some error.
func TestCodes(t *testing.T) {
	used := map[string]bool{diagnose(conflict(t)).Code: true}
	for _, test := range diagnosed {
		used[test.code] = true
	}
	for name, c := range codes {
		if !regexp.MustCompile(`^HJ00\d\d$`).MatchString(name) || c.title == "" || len(strings.TrimSpace(c.text)) < 20 || c.exit == 0 {
			t.Errorf("%s: %+v", name, c)
		}
		if !used[name] {
			t.Errorf("no error has the code %s", name)
		}
	}
	for _, test := range diagnosed {
		if _, ok := codes[test.code]; test.code != "" && !ok {
			t.Errorf("%s is not explained", test.code)
		}
	}
}

// TestProblem shows whole messages.
func TestProblem(t *testing.T) {
	for _, test := range []struct {
		name, want string
		err        error
	}{
		{"spec", `error[HJ0010]: unknown key "hots"
  --> a.yaml:3:1   hots: {}
  help: did you mean host?
  more: hdjail explain HJ0010
`, &spec.Error{File: "a.yaml", Line: 3, Column: 1, Message: `unknown key "hots"`, Help: "did you mean host?", Source: "  hots: {}"}},
		{"failure", `error[HJ0030]: build a-1 ended with exit status 1
  | cc: no such thing
  help: --keep-failed keeps what the build left
  help: log: hdjail log --failed    shell: hdjail shell --failed
  more: hdjail explain HJ0030
`, &build.Failure{Name: "a-1", Kind: "exit", Reason: "ended with exit status 1", LogTail: []string{"cc: no such thing"}}},
		{"hostile", `error[HJ0020]: fetch "sha256:0": no place has it
  http://x/\x1b[2J: gone
  help: add another place to urls, or --mirror DIR|URL
  help: hdjail source add FILE takes a file that you have
  more: hdjail explain HJ0020
`, &sources.FetchError{Digest: "sha256:0", Attempts: []sources.Attempt{{URL: "http://x/\x1b[2J", Err: errors.New("gone")}}}},
		{"interrupted", "error[HJ0003]: interrupted\n  more: hdjail explain HJ0003\n",
			&spec.Error{File: "a.yaml", Line: 3, Column: 1, Message: "digest source", Err: fmt.Errorf("read: %w", context.Canceled)}},
		{"full", `error[HJ0051]: write "/s/tmp/x": no space left on device
  help: hdjail gc frees what nothing refers to any more
  help: or free space in the file system of /s, or enlarge it
  help: or keep the store on another one: --store DIR
  more: hdjail explain HJ0051
`, &spec.Error{File: "a.yaml", Line: 3, Column: 1, Err: &store.SpaceError{Root: "/s", Path: "/s/tmp/x", Err: syscall.ENOSPC}}},
		{"full and known", `error[HJ0051]: write "/s/tmp/x": disk quota exceeded: the file system at /s has 12.5 KiB of 1 GiB free, and 3 inodes
  help: hdjail gc frees what nothing refers to any more
  help: or free space in the file system of /s, or enlarge it
  help: or keep the store on another one: --store DIR
  more: hdjail explain HJ0051
`, &store.SpaceError{Root: "/s", Path: "/s/tmp/x", Err: syscall.EDQUOT, FileSystem: "/s", Free: 12888, Size: 1 << 30, Inodes: 3}},
		{"full for the script", `error[HJ0030]: build a-1 ended with exit status 1
  help: hdjail gc frees what nothing refers to any more
  help: or free space in the file system of /s, or enlarge it
  help: or keep the store on another one: --store DIR
  help: --keep-failed keeps what the build left
  help: log: hdjail log --failed    shell: hdjail shell --failed
  more: hdjail explain HJ0030
`, errors.Join(&build.Failure{Name: "a-1", Kind: "exit", Reason: "ended with exit status 1"}, &store.SpaceError{Root: "/s", Path: "/s/tmp/x", Err: syscall.ENOSPC})},
		{"full for a while", `error[HJ0030]: build a-1 ended with exit status 1
  | sh: cannot create x: Disk quota exceeded
  help: hdjail gc frees what nothing refers to any more
  help: --keep-failed keeps what the build left
  help: log: hdjail log --failed    shell: hdjail shell --failed
  more: hdjail explain HJ0030
`, &build.Failure{Name: "a-1", Kind: "exit", Reason: "ended with exit status 1", LogTail: []string{"sh: cannot create x: Disk quota exceeded"}}},
		{"full elsewhere", `error[HJ0051]: write /r/x: no space left on device
  help: hdjail gc frees what nothing refers to any more
  help: or free space in the file system of /r/x, or enlarge it
  help: or keep the store on another one: --store DIR
  more: hdjail explain HJ0051
`, &os.PathError{Op: "write", Path: "/r/x", Err: syscall.ENOSPC}},
		{"package", `error[HJ0011]: host package "coreutls" is not installed
  help: installed are coreutils
  more: hdjail explain HJ0011
`, &hostpkgs.NotInstalledError{Name: "coreutls", Near: []string{"coreutils"}}},
		{"taken", `error[HJ0026]: refuse "README": that path is taken: an earlier source has it, or this one has it twice (rule "conflict")
  help: give one of the sources another target: DIR
  more: hdjail explain HJ0026
`, &unpack.Refusal{Kind: "conflict", Name: "README"}},
	} {
		var people bytes.Buffer
		(&app{out: newOut(nil, &people, false)}).exit(test.err)
		if people.String() != test.want {
			t.Errorf("%s:\n%s\nwant:\n%s", test.name, people.String(), test.want)
		}
	}
}
