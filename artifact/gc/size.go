package gc

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"syscall"
	"time"

	"hdjail/artifact/store"
)

// changed is when an inode was last changed: the times of content in a store are all the same.
func changed(info fs.FileInfo) time.Time {
	return time.Unix(info.Sys().(*syscall.Stat_t).Ctim.Unix())
}

// Measure counts the content of what the snapshot does not know the size of. Plans with Options.MaxBytes need that.
func (snap *Snapshot) Measure(ctx context.Context, s *store.Store) error {
	for _, list := range [][]Thing{snap.Sources, snap.Packages, snap.Trees} {
		err := each(ctx, len(list), func(first, end int) (err error) {
			for i := first; i < end && err == nil; i++ {
				if list[i].Bytes < 0 {
					list[i].Bytes, err = content(list[i].Path, list[i].composed)
				}
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return each(ctx, len(snap.Realizations), func(first, end int) (err error) {
		for i := first; i < end && err == nil; i++ {
			if r := &snap.Realizations[i]; r.Bytes == 0 {
				r.Bytes, err = content(s.OutPath(r.ID), false)
			}
		}
		return err
	})
}

// Measure counts the content of what the plan removes and nobody has counted.
func (p *Plan) Measure(ctx context.Context, s *store.Store) error {
	err := each(ctx, len(p.Steps), func(first, end int) (err error) {
		for i := first; i < end && err == nil; i++ {
			if step := &p.Steps[i]; step.Bytes < 0 {
				step.Bytes, err = content(step.path(s), step.Kind == Tree)
			}
		}
		return err
	})
	p.Freed = 0
	for _, step := range p.Steps {
		p.Freed += step.Bytes
	}
	return err
}

// content is the size of a file, or of all files in a directory. In a composed tree a file with other names counts where
// they are. What vanishes meanwhile counts nothing.
func content(path string, composed bool) (int64, error) {
	var total int64
	err := filepath.WalkDir(path, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		if info.Mode().IsRegular() && !(composed && info.Sys().(*syscall.Stat_t).Nlink > 1) {
			total += info.Size()
		}
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return total, err
}
