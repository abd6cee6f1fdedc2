package reexec

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestUserNamespace looks for what the namespace is good for: its maps are read where a mount is mapped by it.
func TestUserNamespace(t *testing.T) {
	if os.Geteuid() != 0 {
		if f, err := UserNamespace(1900000000); err == nil {
			f.Close()
			t.Error("an ordinary user mapped an id that is not his")
		}
		return
	}
	before := children(t)
	for range 20 {
		f, err := UserNamespace(1900000000)
		if err != nil {
			t.Fatal(err)
		}
		if kind, err := unix.IoctlRetInt(int(f.Fd()), unix.NS_GET_NSTYPE); err != nil || kind != unix.CLONE_NEWUSER {
			t.Errorf("it is a namespace of type %#x, %v", kind, err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
	if after := children(t); after != before {
		t.Errorf("children before: %q, after: %q", before, after)
	}
}

// children are the processes that this one has not waited for.
func children(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	for _, thread := range threads {
		list, err := os.ReadFile("/proc/self/task/" + thread.Name() + "/children")
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // a kernel without CONFIG_PROC_CHILDREN lists none
			t.Fatal(err)
		}
		all.Write(list)
	}
	return all.String()
}
