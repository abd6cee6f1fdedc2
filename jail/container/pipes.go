package container

import (
	"os"

	"golang.org/x/sys/unix"
)

// lentPipe is a pipe that is the jail's own while it runs.
type lentPipe struct {
	file *os.File
	uid  int
	gid  int
}

// lendPipes makes the streams that are pipes the jail's own, so that it can open them by /dev/stdout, as an ordinary user's
// jail can. Pipes with a name are files of the host and stay as they are.
func (p *process) lendPipes(ids identity) error {
	for _, f := range []*os.File{p.stdin, p.stdout, p.stderr} {
		var fs unix.Statfs_t
		var st unix.Stat_t
		if f == nil || unix.Fstatfs(int(f.Fd()), &fs) != nil || fs.Type != unix.PIPEFS_MAGIC || unix.Fstat(int(f.Fd()), &st) != nil {
			continue
		}
		if err := f.Chown(ids.uid, ids.gid); err != nil {
			return err
		}
		if f == p.config.Stdin || f == p.config.Stdout || f == p.config.Stderr { // the caller's; ours end with the jail
			p.lent = append(p.lent, lentPipe{f, int(st.Uid), int(st.Gid)})
		}
	}
	return nil
}

// returnPipes gives the caller's pipes back. One that is closed meanwhile needs nothing.
func (p *process) returnPipes() {
	for i := len(p.lent) - 1; i >= 0; i-- { // one pipe may be two streams
		_ = p.lent[i].file.Chown(p.lent[i].uid, p.lent[i].gid)
	}
	p.lent = nil
}
