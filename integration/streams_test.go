package integration

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// T-fd3: what the caller's streams are is no way to the host: not a directory, and not a file that could be opened anew.
func TestEscapeStreams(t *testing.T) {
	store := filepath.Join(openDir(t, "root"), "store")
	run := func(stdin, script string) (string, error) {
		command := exec.Command(hdjail, "--store", store, "run", "--host", "coreutils,dash", "--", "sh", "-c", script)
		file, err := os.Open(stdin)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		command.Stdin = file
		out, err := command.Output()
		return string(out), err
	}
	if out, err := run("/", "ls /proc/self/fd/0/"); err == nil || out != "" {
		t.Errorf("a directory as standard input: %v, output %q", err, out)
	}
	input := filepath.Join(openDir(t, "root"), "input")
	if err := os.WriteFile(input, []byte("text"), 0o666); err != nil {
		t.Fatal(err)
	}
	if out, err := run(input, "cat; echo changed > /proc/self/fd/0"); out != "text" {
		t.Errorf("a file as standard input: %v, output %q", err, out)
	}
	if content, err := os.ReadFile(input); err != nil || string(content) != "text" {
		t.Errorf("the file now holds %q, %v", content, err)
	}
}

// A realization keeps its content although its build has passed a writable descriptor to a process outside.
func TestEscapePassedDescriptor(t *testing.T) {
	dir := openDir(t, "root")
	attack := filepath.Join(dir, "pass")
	if out, err := exec.Command("gcc", "-static", "-O1", "-o", attack, "testdata/escape/pass.c").CombinedOutput(); err != nil {
		t.Fatalf("gcc: %s", out)
	}
	shared := filepath.Join(dir, "shared")
	if err := os.Mkdir(shared, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(shared, 0o777); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(shared, "socket")
	received := receiveDescriptor(t, socket)
	spec := filepath.Join(dir, "spec.yaml")
	text := "hdjail: 1\nname: pass\nhost: {packages: [coreutils], paths: [" + attack + ", {path: " + shared + ", id: socket}]}\n" +
		"script: |\n  echo good > $ARTIFACT/a\n  " + attack + " " + socket + " $ARTIFACT/a\n"
	if err := os.WriteFile(spec, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(hdjail, "--store", filepath.Join(dir, "store"), "build", spec).Output()
	if err != nil {
		t.Fatalf("%v: %s", err, err.(*exec.ExitError).Stderr)
	}
	file := <-received
	if file == nil {
		t.Fatal("no descriptor came out of the jail, so nothing was tried")
	}
	defer file.Close()
	if _, err := file.WriteAt([]byte("EVIL"), 0); err != nil {
		t.Logf("write: %v", err)
	}
	content, err := os.ReadFile(filepath.Join(string(out[:len(out)-1]), "a"))
	if err != nil || string(content) != "good\n" {
		t.Errorf("the realization holds %q, %v", content, err)
	}
}
