package build

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"hdjail/artifact"
	"hdjail/artifact/leaks"
	"hdjail/build/jailplan"
)

// grove is what a build's output may lead to: the output and the trees of its dependencies, each at its path in the jail.
// The first tree is the output, which is not trusted.
type grove struct {
	trees []plantedTree
	// system is the machine that programs have to be for.
	system string
	// visible reports whether the jail shows a path that is in no tree.
	visible func(path string) bool
}

type plantedTree struct {
	public, dir string
	root        *os.Root // nil until it is needed
}

// newGrove takes the output, which stays the caller's, and the closure.
func newGrove(out *os.Root, public string, closure []jailplan.Dependency) *grove {
	g := &grove{trees: []plantedTree{{public: public, root: out}}}
	for _, d := range closure {
		if !d.Many {
			g.trees = append(g.trees, plantedTree{public: d.Public, dir: d.Outs[0]})
		}
	}
	return g
}

// close closes the trees of the dependencies.
func (g *grove) close() {
	for _, t := range g.trees[1:] {
		if t.root != nil {
			t.root.Close()
		}
	}
}

// errOutside reports a path in no tree.
type errOutside struct{ path string }

func (e *errOutside) Error() string {
	return fmt.Sprintf("is a link to %s, outside the output and its dependencies", e.path)
}

// tree returns the tree that an absolute path in the jail lies in, and the rest of the path.
func (g *grove) tree(target string) (*plantedTree, string, error) {
	for i := range g.trees {
		t := &g.trees[i]
		below, found := strings.CutPrefix(target+"/", t.public+"/")
		if !found {
			continue
		}
		var err error
		if t.root == nil {
			t.root, err = os.OpenRoot(t.dir)
		}
		return t, strings.TrimSuffix(below, "/"), err
	}
	return nil, "", &errOutside{target}
}

// found is where a path leads.
type found struct {
	root *os.Root
	path string
	info fs.FileInfo
}

// follow finds what is at an absolute path in the jail. Links are followed as the build sees them, a step at a time, and
// never out of the trees.
func (g *grove) follow(target string) (found, error) {
	for hops := 0; ; {
		t, below, err := g.tree(target)
		if err != nil {
			return found{}, reason(err)
		}
		f, onward, err := t.walk(below, &hops)
		if err != nil || onward == "" {
			return f, reason(err)
		}
		target = onward
	}
}

// maxHops is how many links a path may lead over, as for the kernel.
const maxHops = 40

// walk goes down a path in the tree. Where it leaves the tree, onward is the absolute path to go on with.
func (t *plantedTree) walk(below string, hops *int) (f found, onward string, err error) {
	at, rest := ".", strings.Split(below, "/")
	for len(rest) > 0 {
		name := rest[0]
		rest = rest[1:]
		switch {
		case name == "" || name == ".":
			continue
		case name == ".." && at == ".":
			return f, path.Join(path.Dir(t.public), path.Join(rest...)), nil
		case name == "..":
			at = path.Dir(at)
			continue
		}
		next := path.Join(at, name)
		info, err := t.root.Lstat(next)
		if err != nil {
			return f, "", err
		}
		if info.Mode()&os.ModeSymlink == 0 {
			at = next
			continue
		}
		link, err := t.root.Readlink(next)
		if err != nil {
			return f, "", err
		}
		if *hops++; *hops > maxHops {
			return f, "", unix.ELOOP
		}
		if path.IsAbs(link) {
			return f, path.Join(link, path.Join(rest...)), nil
		}
		rest = append(strings.Split(link, "/"), rest...)
	}
	info, err := t.root.Lstat(at)
	return found{t.root, at, info}, "", err
}

// check tells why a promise is not kept; nil when it is.
func (g *grove) check(p artifact.Promise) error {
	f, err := g.follow(g.trees[0].public + "/" + p.Path)
	if err != nil || p.Kind == artifact.PromiseExists {
		return err
	}
	if p.Kind == artifact.PromiseNonempty && f.info.IsDir() {
		return nonemptyDir(f)
	}
	if !f.info.Mode().IsRegular() {
		return fmt.Errorf("is no file, so it is not %s", p.Kind)
	}
	file, err := f.root.OpenFile(f.path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
	if err != nil {
		return reason(err)
	}
	defer file.Close()
	digest, isDigest := strings.CutPrefix(p.Kind, artifact.PromiseSHA256)
	soname, isSoname := strings.CutPrefix(p.Kind, artifact.PromiseSONAME)
	switch {
	case isDigest:
		return checkDigest(file, digest)
	case isSoname:
		return g.checkSoname(file, soname)
	case p.Kind == artifact.PromiseNonempty && f.info.Size() == 0:
		return errors.New("is empty")
	case p.Kind == artifact.PromiseELF:
		return g.checkELF(file)
	case p.Kind == artifact.PromiseExec:
		return g.checkProgram(file, f.info.Mode())
	}
	return nil
}

func nonemptyDir(f found) error {
	dir, err := f.root.OpenFile(f.path, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return reason(err)
	}
	defer dir.Close()
	if _, err := dir.Readdirnames(1); err != nil {
		return errors.New("is an empty directory")
	}
	return nil
}

func checkDigest(file io.Reader, want string) error {
	hash := sha256.New()
	if _, err := io.Copy(hash, file); err != nil {
		return reason(err)
	}
	if got := hex.EncodeToString(hash.Sum(nil)); got != want {
		return fmt.Errorf("has SHA-256 %s, not %s", got, want)
	}
	return nil
}

func (g *grove) checkELF(file io.ReaderAt) error {
	switch b, err := leaks.Identify(file); {
	case err != nil:
		return fmt.Errorf("is no ELF file: %w", err)
	case b.System != g.system:
		return fmt.Errorf("is an ELF file for another machine than %s", g.system)
	}
	return nil
}

func (g *grove) checkSoname(file io.ReaderAt, want string) error {
	switch b, err := leaks.Identify(file); {
	case err != nil:
		return fmt.Errorf("is no ELF file: %w", err)
	case b.Soname == "":
		return fmt.Errorf("has no soname, and %s is promised", want)
	case b.Soname != want:
		return fmt.Errorf("has the soname %s, not %s", b.Soname, want)
	}
	return nil
}

// checkProgram: it may be executed, and what runs it is there.
func (g *grove) checkProgram(file *os.File, mode fs.FileMode) error {
	if mode&0o100 == 0 {
		return errors.New("is not executable")
	}
	line, _ := bufio.NewReaderSize(io.LimitReader(file, 256), 256).ReadString('\n') // the kernel reads no more of it
	command, isScript := strings.CutPrefix(line, "#!")
	if !isScript {
		return g.checkELF(file)
	}
	words := strings.Fields(command)
	if len(words) == 0 || !path.IsAbs(words[0]) {
		return fmt.Errorf("begins with %q, which names no interpreter", strings.TrimSpace(line))
	}
	_, err := g.follow(path.Clean(words[0]))
	if outside := (*errOutside)(nil); errors.As(err, &outside) && g.visible(outside.path) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("has an interpreter, %s, that the build does not see", words[0])
	}
	return nil
}

// reason drops operation and path of an error of package os, where the message says them better.
func reason(err error) error {
	if path := (*os.PathError)(nil); errors.As(err, &path) {
		return path.Err
	}
	return err
}
