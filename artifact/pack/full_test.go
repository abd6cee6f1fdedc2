package pack

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"hdjail/artifact/store"
)

// TestFullDisk fills the disk up so far that each time another write fails. The store is valid then, and takes the archive
// once there is space.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "size=1m,mode=0755"); err != nil {
		t.Skip("this process cannot mount: ", err)
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	a := builder{Store: newStore(t, prefix)}
	lib := a.build(t, sample("lib"), nil, files{"f": strings.Repeat("lib", 3000), "d/": ""})
	archive := packed(t, a.Store, roots(a.build(t, sample("top", on(lib)), with(lib), files{"f": strings.Repeat("top", 3000)})))
	full := 0
	for free := 0; ; free++ {
		s, err := store.Open(fmt.Sprint(dir, "/", free), store.Options{Prefix: prefix})
		must(t, err)
		var st unix.Statfs_t
		must(t, unix.Statfs(dir, &st))
		must(t, os.WriteFile(dir+"/filler", make([]byte, (int(st.Bavail)-free)*int(st.Bsize)), 0o644))
		_, err = unpack(s, archive)
		must(t, os.Remove(dir+"/filler"))
		if errors.Is(err, unix.ENOSPC) {
			full++
		} else if err != nil {
			t.Error(err)
		}
		if left, _ := os.ReadDir(s.TmpDir()); len(left) > 0 {
			t.Errorf("%d pages free: %v", free, left)
		}
		_, again := unpack(s, archive)
		must(t, again)
		verify(t, s)
		must(t, s.Close(), os.RemoveAll(s.Root()))
		if err == nil {
			break
		}
	}
	if full < 10 {
		t.Errorf("the disk was full only %d times", full)
	}
}
