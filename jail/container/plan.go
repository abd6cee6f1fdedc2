package container

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"hdjail/jail"
	"hdjail/mounts"
	"hdjail/seccomp"
)

// stage2Plan is what stage 2 is told; jail/reexec/stage2.c reads it.
type stage2Plan struct {
	config  jail.Config
	filters [][]byte
	sources map[string]identityOf
	ids     identity
	fence   landlock
	// ask is whom the last filter asks; canaries are then the paths of stage 2's own accesses.
	ask      seccomp.Ask
	canaries []string
}

// Record tags and flags, the same as in stage2.c.
const (
	tagArg, tagEnv, tagDir, tagMount, tagFilter              = 1, 2, 3, 4, 5
	tagUIDMap, tagGIDMap, tagFlags, tagCaps                  = 6, 7, 8, 9
	tagBelow, tagCanary, tagLandlock, tagLandlockRule        = 10, 11, 12, 13
	tagCPUs, tagSkip                                         = 14, 15
	flagTerminal, flagSetgroups, flagRandomize               = 1, 2, 4
	flagListen, flagTrace                                    = 8, 16
	statReadOnly, statNoSUID, statNoDev                      = unix.ST_RDONLY, unix.ST_NOSUID, unix.ST_NODEV
	mountOptional                                     uint32 = 1 << 31
)

// encode writes the records. Byte order is the machine's own, since the reader is the same program.
func (s stage2Plan) encode() []byte {
	var out bytes.Buffer
	record := func(tag uint32, data []byte) {
		binary.Write(&out, binary.NativeEndian, [2]uint32{tag, uint32(len(data))})
		out.Write(data)
		out.Write(make([]byte, (8-len(data)%8)%8))
	}
	text := func(tag uint32, s string) { record(tag, append([]byte(s), 0)) }
	for _, arg := range s.config.Args {
		text(tagArg, arg)
	}
	for _, env := range s.config.Env {
		text(tagEnv, env)
	}
	text(tagDir, s.config.Dir)
	for _, m := range s.mounts() {
		record(tagMount, m)
	}
	for _, e := range s.config.Mounts.Entries {
		if e.Recursive {
			text(tagBelow, e.Target)
		}
	}
	for _, filter := range s.filters {
		record(tagFilter, filter)
	}
	if s.fence.handled != 0 {
		head, rules := s.fence.encode()
		record(tagLandlock, head)
		for _, rule := range rules {
			record(tagLandlockRule, rule)
		}
	}
	uids, gids := s.ids.maps()
	text(tagUIDMap, uids)
	text(tagGIDMap, gids)
	record(tagFlags, binary.NativeEndian.AppendUint32(nil, s.flags()))
	record(tagCaps, binary.NativeEndian.AppendUint64(nil, s.ids.keep))
	if cpus := s.config.Vary.CPUs; len(cpus) > 0 {
		record(tagCPUs, cpuMask(cpus))
	}
	if skip := s.config.Vary.SkipPIDs; skip > 0 {
		record(tagSkip, binary.NativeEndian.AppendUint32(nil, uint32(skip)))
	}
	for _, path := range s.canaries {
		text(tagCanary, path)
	}
	return out.Bytes()
}

// cpuMask is a set of processors as the kernel takes it (sched_setaffinity(2)): an array of longs.
func cpuMask(cpus []int) []byte {
	words := make([]uint64, cpus[len(cpus)-1]/64+1)
	for _, cpu := range cpus {
		words[cpu/64] |= 1 << (cpu % 64)
	}
	var mask []byte
	for _, word := range words {
		mask = binary.NativeEndian.AppendUint64(mask, word)
	}
	return mask
}

func (s stage2Plan) flags() (flags uint32) {
	if s.config.Terminal {
		flags |= flagTerminal
	}
	if s.ids.size > 1 {
		flags |= flagSetgroups
	}
	if s.config.Host {
		flags |= flagRandomize
	}
	switch s.ask {
	case seccomp.AskListener:
		flags |= flagListen
	case seccomp.AskTracer:
		flags |= flagTrace
	}
	return flags
}

// mounts lists every mount that the jail must have: the root, the table, and what libcontainer puts on /proc.
func (s stage2Plan) mounts() (records [][]byte) {
	add := func(target string, id identityOf, flags uint32) {
		b := binary.NativeEndian.AppendUint64(nil, id.dev)
		b = binary.NativeEndian.AppendUint64(b, id.ino)
		b = binary.NativeEndian.AppendUint32(b, id.kind)
		b = binary.NativeEndian.AppendUint32(b, flags)
		records = append(records, append(append(b, target...), 0))
	}
	add("/", identityOf{}, statReadOnly)
	add("/dev", identityOf{}, statReadOnly|statNoSUID)
	for _, e := range s.config.Mounts.Entries {
		if e.Mounted() && e.Target != "/dev" {
			add(e.Target, s.sources[e.Target], statFlags(e))
		}
	}
	for _, target := range append(append([]string{}, maskedPaths...), readonlyPaths...) {
		add(target, identityOf{}, mountOptional)
	}
	return records
}

func statFlags(e mounts.Entry) (flags uint32) {
	set := mountFlags(e)
	if set&unix.MS_RDONLY != 0 {
		flags |= statReadOnly
	}
	if set&unix.MS_NODEV != 0 {
		flags |= statNoDev
	}
	return flags | statNoSUID
}

// sealedFile returns a file in memory that nobody can change.
func sealedFile(name string, content []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, &os.SyscallError{Syscall: "memfd_create", Err: err}
	}
	file := os.NewFile(uintptr(fd), name)
	if _, err := file.Write(content); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	seals := unix.F_SEAL_WRITE | unix.F_SEAL_GROW | unix.F_SEAL_SHRINK | unix.F_SEAL_SEAL
	if _, err := unix.FcntlInt(file.Fd(), unix.F_ADD_SEALS, seals); err != nil {
		return nil, errors.Join(&os.SyscallError{Syscall: "fcntl", Err: err}, file.Close())
	}
	return file, nil
}
