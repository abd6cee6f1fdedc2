package container

import (
	"encoding/binary"
	"os"

	"github.com/opencontainers/runc/libcontainer/configs"
	"golang.org/x/sys/unix"

	"hdjail/jail"
	"hdjail/jail/reexec"
	"hdjail/mounts"
)

// hook is what the program that mounts is given: a list, and mounts that root cloned for it.
type hook struct {
	list  *os.File
	trees []*os.File
	idmap *os.File // of the mounts that root clones; nil for none
	uid   int      // the leased one
}

// firstTree is the descriptor of the first cloned mount in the jail; stage 2 gets the ones before it.
const firstTree = 7

// hookWorks reports whether the kernel has the calls that the hook makes.
func hookWorks() bool { return mountSetattrWorks() == nil && openat2Works() == nil }

// newHook lists the mounts of the configuration but for those that libcontainer makes. As root every source is cloned
// here, from the descriptor that was checked.
func (r *Runner) newHook(c jail.Config, over string, pinned *pinnedSources) (h *hook, err error) {
	h = &hook{uid: c.Scratch.UID}
	defer func() {
		if err != nil {
			h.close()
		}
	}()
	if r.root && !c.Host {
		if h.idmap, err = r.idmaps.open(c.Scratch.UID); err != nil {
			return h, &jail.SetupError{Phase: "id-map", Err: err}
		}
	}
	var list []byte
	for _, e := range c.Mounts.Entries {
		if !e.Mounted() || e.Target == "/dev" {
			continue
		}
		m := mountOf(e, over)
		tree := -1
		if r.root && m.Device == "bind" {
			if tree, err = h.clone(e, m, pinned); err != nil {
				return h, &jail.SetupError{Phase: "mount-source", Err: err}
			}
		}
		list = append(list, encodeMount(e, m, tree)...)
	}
	h.list, err = sealedFile("mounts", list)
	return h, err
}

func (h *hook) close() {
	for _, f := range append(h.trees, h.list) {
		if f != nil {
			f.Close()
		}
	}
}

// config makes libcontainer run the hook and do only what the hook leaves to it.
func (h *hook) config(c *configs.Config) {
	kept := c.Mounts[:0]
	for _, m := range c.Mounts {
		if m.Destination == "/dev" {
			kept = append(kept, m)
		}
	}
	c.Mounts = kept
	c.Networks = nil // the hook starts the loopback interface, too
	command := configs.Command{Path: "/proc/self/fd/3", Args: []string{"/proc/self/fd/3", reexec.MountsName}, Env: []string{}}
	c.Hooks = configs.Hooks{configs.CreateContainer: configs.HookList{configs.NewCommandHook(&command)}}
}

// clone takes a mount's source as a mount of its own, private and with its flags, and returns its descriptor in the jail.
func (h *hook) clone(e mounts.Entry, m *configs.Mount, pinned *pinnedSources) (int, error) {
	recursive := uint(0)
	if e.Recursive {
		recursive = unix.AT_RECURSIVE
	}
	dir, path, empty := unix.AT_FDCWD, m.Source, uint(0)
	if source := pinned.files[e.Target]; source != nil {
		dir, path, empty = int(source.Fd()), "", unix.AT_EMPTY_PATH
	}
	fd, err := unix.OpenTree(dir, path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|empty|recursive)
	if err != nil {
		return -1, &os.PathError{Op: "open_tree", Path: m.Source, Err: err}
	}
	h.trees = append(h.trees, os.NewFile(uintptr(fd), m.Source))
	idmap := h.idmap
	var st unix.Stat_t
	if e.Device || unix.Fstat(fd, &st) == nil && int(st.Uid) == h.uid { // the build's own already
		idmap = nil
	}
	if err := mapTree(fd, e, recursive, idmap); err != nil {
		return -1, &os.PathError{Op: "mount_setattr", Path: m.Source, Err: err}
	}
	return firstTree + len(h.trees) - 1, nil
}

// encodeMount writes one record; jail/reexec/mounts.c reads it.
func encodeMount(e mounts.Entry, m *configs.Mount, tree int) []byte {
	const header = 32
	source, data, flags := m.Source, "", attributes(e)
	var texts []byte
	text := func(s string) uint32 {
		at := header + len(texts)
		texts = append(append(texts, s...), 0)
		return uint32(at)
	}
	var at [3]uint32
	if m.Device != "bind" {
		source, data, flags = m.Device, m.Data, uint64(m.Flags)
	}
	at[0], at[1] = text(source), text(m.Destination)
	if m.Device != "bind" {
		at[2] = text(data)
	}
	for len(texts)%8 != 0 {
		texts = append(texts, 0)
	}
	order := binary.NativeEndian
	b := order.AppendUint32(nil, uint32(header+len(texts)))
	b = order.AppendUint32(b, uint32(int32(tree)))
	for _, offset := range at {
		b = order.AppendUint32(b, offset)
	}
	recursive := uint32(0)
	if e.Recursive {
		recursive = 1
	}
	b = order.AppendUint32(b, recursive)
	b = order.AppendUint64(b, flags)
	return append(b, texts...)
}
