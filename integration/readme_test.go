package integration

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"hdjail/build/spec"
)

// yamlBlocks returns the YAML of a document below the heading, "" for all of it.
func yamlBlocks(t *testing.T, file, heading string) []string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_, after, found := strings.Cut("\n"+string(text), "\n"+heading)
	if !found {
		t.Fatalf("%s has no heading %q", file, heading)
	}
	var blocks []string
	for _, m := range regexp.MustCompile("(?ms)^```yaml\n(.*?)^```$").FindAllStringSubmatch(after, -1) {
		blocks = append(blocks, m[1])
	}
	if len(blocks) == 0 {
		t.Fatalf("%s has no YAML below %q", file, heading)
	}
	return blocks
}

// The first spec of the README builds as it stands there, for root and for an ordinary user, and gives what it says.
func TestReadmeFirstSpec(t *testing.T) {
	text := yamlBlocks(t, "../README.md", "## A first spec")[0]
	if lines := strings.Count(text, "\n"); lines > 20 {
		t.Errorf("the first spec has %d lines, more than 20", lines)
	}
	if _, err := os.Stat("/var/lib/dpkg"); errors.Is(err, fs.ErrNotExist) {
		text = strings.Replace(text, "libc6-dev]", "glibc-devel]", 1) // as its comment says
	}
	for _, user := range who {
		t.Run(user, func(t *testing.T) {
			if as(t, user, "true") == nil {
				return // the row of root, which this is not
			}
			dir := openDir(t, user)
			t.Cleanup(func() { exec.Command("chmod", "-R", "u+w", dir).Run() }) // what is in a store is read-only
			if err := os.WriteFile(filepath.Join(dir, "hdjail.yaml"), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			var path string
			for range 2 { // the second time there is nothing to do
				build := as(t, user, hdjail, "build", "--store", filepath.Join(dir, "store"))
				var said bytes.Buffer
				build.Dir, build.Stderr = dir, &said
				out, err := build.Output()
				if err != nil {
					t.Fatalf("hdjail build: %v\n%s", err, said.Bytes())
				}
				if again := strings.TrimSpace(string(out)); path != "" && (again != path || said.Len() > 0) {
					t.Errorf("the second build says %q and %q, want %q only", again, said.Bytes(), path)
				} else {
					path = again
				}
			}
			out, err := as(t, user, filepath.Join(path, "bin/greeting")).Output()
			if err != nil || string(out) != "hello from a jail\n" {
				t.Errorf("greeting says %q, %v", out, err)
			}
		})
	}
}

// Every example in docs/spec.md is valid, once it has the keys that every spec needs.
func TestSpecExamples(t *testing.T) {
	for _, example := range yamlBlocks(t, "../docs/spec.md", "") {
		for _, needed := range []string{"hdjail: 1", "name: x", "script: x"} {
			key, _, _ := strings.Cut(needed, " ")
			if !strings.Contains("\n"+example, "\n"+key) {
				example += needed + "\n"
			}
		}
		if _, err := spec.Parse("spec.md", []byte(example)); err != nil {
			t.Errorf("%v\n%s", err, example)
		}
	}
}

// The README lists every exit status that an error can have.
func TestReadmeExitCodes(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(hdjail, "explain", "--json").Output()
	if err != nil {
		t.Fatal(err)
	}
	var codes []struct {
		Code string
		Exit int
	}
	if err := json.Unmarshal(out, &codes); err != nil || len(codes) == 0 {
		t.Fatalf("hdjail explain --json: %d codes, %v", len(codes), err)
	}
	for _, c := range codes {
		if !strings.Contains(string(readme), fmt.Sprintf("\n| %d | ", c.Exit)) {
			t.Errorf("the table of exit codes lacks %d, that of %s", c.Exit, c.Code)
		}
	}
}
