package sources

import (
	"context"
	"encoding/hex"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"hdjail/artifact"
)

// repo runs git in a repository with a fixed author and date.
type repo struct {
	t   *testing.T
	dir string
}

func (r repo) git(args ...string) string {
	r.t.Helper()
	cmd := exec.Command("git", append([]string{"-C", r.dir, "-c", "user.name=A U Thor", "-c", "user.email=author@example.com"}, args...)...)
	cmd.Env = []string{"PATH=/usr/local/bin:/usr/bin:/bin", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "HOME=" + r.dir,
		"GIT_AUTHOR_DATE=1112911993 +0000", "GIT_COMMITTER_DATE=1112911993 +0000"}
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func (r repo) commit(message string) string {
	r.t.Helper()
	r.git("add", "--all")
	r.git("commit", "--quiet", "-m", message)
	return r.git("rev-parse", "HEAD")
}

func unhex(t *testing.T, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func newRepo(t *testing.T, files map[string]string) repo {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("git is not installed")
	}
	r := repo{t, write(t, files)}
	r.git("init", "--quiet", "--initial-branch=main")
	return r
}

// TestCommitVector is the row "git-commit" of source_keys.json.
func TestCommitVector(t *testing.T) {
	r := newRepo(t, map[string]string{"README": "hello\n", "run.sh": "#!/bin/sh\n"})
	if got, want := r.commit("first"), "1fb1c3a5bf003114cd754b6e6ce48ca423305563"; got != want {
		t.Errorf("commit %s, want %s", got, want)
	}
}

func TestGit(t *testing.T) {
	files := map[string]string{"a": "1", "run": "#!/bin/sh\n", "d/l": "->/etc/passwd", "eol.txt": "one\ntwo\n",
		"version": "$Format:%H$ $Id$\n", "hidden/secret": "left out by archives", "utf16": "text", "d/.gitattributes": "l -export-ignore\n",
		".gitattributes": "hidden export-ignore\nversion export-subst ident\n*.txt text eol=crlf\nutf16 text working-tree-encoding=UTF-16\na filter=evil\n"}
	r := newRepo(t, files)
	// The files are committed as they are; the attributes are for those who read the commit.
	if err := os.WriteFile(r.dir+"/.git/info/attributes", []byte("* -text -ident -filter -working-tree-encoding\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	evil := filepath.Join(t.TempDir(), "evil")
	for _, hook := range []string{"post-checkout", "post-merge", "reference-transaction", "pre-auto-gc"} {
		if err := os.WriteFile(filepath.Join(r.dir, ".git/hooks", hook), []byte("#!/bin/sh\ntouch "+evil+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	first := r.commit("first")
	if err := os.WriteFile(r.dir+"/a", []byte("2"), 0o644); err != nil {
		t.Fatal(err)
	}
	second := r.commit("second")
	r.git("tag", "-a", "-m", "a tag", "v1")
	tag := r.git("rev-parse", "v1")
	r.git("config", "filter.evil.smudge", "touch "+evil)
	r.git("config", "uploadpack.packObjectsHook", "touch "+evil)
	os.Remove(evil)
	for commit, a := range map[string]string{first: "1", second: "2"} {
		s := newStore(t, Options{})
		if err := fetch(s, "git:"+commit, "file:///nowhere", "file://"+r.dir); err != nil {
			t.Fatal(err)
		}
		clean(t, s)
		build := t.TempDir()
		if err := place(t, s, build, artifact.Source{Digest: "git:" + commit, Target: "src"}); err != nil {
			t.Fatal(err)
		}
		want := map[string]string{}
		for name, content := range files {
			want["src/"+name] = content
		}
		want["src/a"] = a
		same(t, read(t, build), want)
		if info, err := os.Stat(build + "/src/run"); err != nil || info.Mode().Perm() != 0o755 {
			t.Errorf("run: %v %v", info, err)
		}
		stored := filepath.Join(s.dir, "git", commit, "a")
		if err := errors.Join(os.Chmod(stored, 0o644), os.WriteFile(stored, []byte("3"), 0o644)); err != nil {
			t.Fatal(err)
		}
		var wrong *DigestError
		if err := place(t, s, t.TempDir(), artifact.Source{Digest: "git:" + commit}); !errors.As(err, &wrong) {
			t.Errorf("error %v", err)
		}
	}
	if _, err := os.Stat(evil); err == nil {
		t.Error("the repository ran something")
	}
	for _, c := range []struct{ commit, url, want string }{
		{strings.Repeat("0", 40), "file://" + r.dir, "has no commit"},
		{tag, "file://" + r.dir, "a tag of"},
		{first, "ext::touch " + evil, "known form"},
		{first, "--upload-pack=touch " + evil, "known form"},
		{first, "file://host/x", "known form"},
		{first, "ssh://-oProxyCommand=x/y", "known form"},
		{first, "file:///nowhere", "nowhere"},
	} {
		s := newStore(t, Options{})
		if err := fetch(s, "git:"+c.commit, c.url); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s from %s: %v, want %q", c.commit, c.url, err, c.want)
		}
		clean(t, s)
	}
}

// TestGitTree has trees that git can make only by force: none may write outside, all say why.
func TestGitTree(t *testing.T) {
	for name, mode := range map[string]string{"..": "040000", ".git": "040000", "a/b": "100644"} {
		r := newRepo(t, map[string]string{"f": "x"})
		r.commit("first")
		tree := r.git("rev-parse", "HEAD^{tree}")
		if mode != "040000" {
			tree = r.git("rev-parse", "HEAD:f")
		}
		raw := strings.TrimPrefix(mode, "0") + " " + name + "\x00" + string(unhex(t, tree))
		path := filepath.Join(t.TempDir(), "raw")
		if err := os.WriteFile(path, []byte(raw), 0o644); err != nil {
			t.Fatal(err)
		}
		evil := r.git("hash-object", "-t", "tree", "-w", "--literally", path)
		commit := r.git("commit-tree", "-m", "evil", evil)
		r.git("update-ref", "refs/heads/evil", commit)
		s := newStore(t, Options{})
		if err := fetch(s, "git:"+commit, "file://"+r.dir); err == nil {
			t.Errorf("%q was accepted", name)
		}
		clean(t, s)
	}
}

func TestGitOwner(t *testing.T) {
	r := newRepo(t, map[string]string{"f": "x"})
	commit := r.commit("first")
	if os.Geteuid() != 0 {
		t.Skip("only root can give a repository away")
	}
	for _, path := range []string{r.dir, r.dir + "/.git"} {
		if err := os.Chown(path, 12345, 12345); err != nil {
			t.Fatal(err)
		}
	}
	s := newStore(t, Options{})
	if err := fetch(s, "git:"+commit, "file://"+r.dir); err == nil || !strings.Contains(err.Error(), "ownership") {
		t.Errorf("error %v", err)
	}
}

func TestNoTool(t *testing.T) {
	s := newStore(t, Options{Path: "/nowhere"})
	for digest, url := range map[string]string{"git:" + strings.Repeat("0", 40): "https://127.0.0.1:1/x", sha(content): "debsrc:hello/x"} {
		var missing *ToolError
		if err := fetch(s, digest, url); !errors.As(err, &missing) || missing.Fix == "" {
			t.Errorf("%s: %v", url, err)
		}
	}
}

// TestRunCancelled ends a program together with its children.
func TestRunCancelled(t *testing.T) {
	s := newStore(t, Options{})
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	done := make(chan error)
	go func() {
		done <- s.run(ctx, command{name: "sh", args: []string{"-c", `sh -c 'echo x; cat' > "$1" <&- & wait`, "sh", fifo}, dir: t.TempDir()})
	}()
	f, err := os.Open(fifo) // waits for the child
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	why := errors.New("enough")
	cancel(why)
	if err := <-done; !errors.Is(err, why) {
		t.Errorf("error %v", err)
	}
}
