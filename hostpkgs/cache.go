package hostpkgs

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
)

// pinFormat is part of every key below pins/ and trees/: a change of what snapshots hold needs another number.
const pinFormat = "hdjail host packages 2"

// stamp tells whether a file was replaced or written. The zero values stand for one that cannot be seen.
type stamp struct {
	Path  string `json:"path"`
	Size  int64  `json:"size"`
	Time  int64  `json:"time"`
	Inode uint64 `json:"inode"`
}

// closureEntry is the cache of a whole whitelist. It holds while Database and Watch are what they were.
type closureEntry struct {
	Names    []string `json:"names"`
	Database string   `json:"database"`
	Watch    []stamp  `json:"watch"`
	Report   Report   `json:"report"`
}

// ownerEntry is the cache of the owner of one path. It holds while Database and Stamp are what they were.
type ownerEntry struct {
	Path     string `json:"path"`
	Database string `json:"database"`
	Stamp    stamp  `json:"stamp"`
	Name     string `json:"name"`
	Owned    bool   `json:"owned"`
}

func (h *Host) stamp(name string) stamp {
	s := stamp{Path: name}
	if info, err := os.Lstat(filepath.Join(h.cfg.Root, name)); err == nil {
		s.Size, s.Time, s.Inode = info.Size(), info.ModTime().UnixNano(), info.Sys().(*syscall.Stat_t).Ino
	}
	return s
}

func (h *Host) stamps(names []string) []stamp {
	stamps := make([]stamp, len(names))
	for i, name := range names {
		stamps[i] = h.stamp(name)
	}
	return stamps
}

// current reports whether the host is still as the entry saw it.
func (h *Host) current(e closureEntry, names []string, database string) bool {
	intact := !slices.ContainsFunc(e.Report.Packages, func(p Pinned) bool { return !isDigest(p.Digest) })
	return intact && slices.Equal(e.Names, names) && e.Database == database &&
		!slices.ContainsFunc(e.Watch, func(s stamp) bool { return h.stamp(s.Path) != s })
}

// cacheFile returns the path of the cache entry for a key, a result of hashOf.
func (h *Host) cacheFile(key string) string { return filepath.Join(h.cfg.Dir, "pins", key+".json") }

// packageKey returns the key of the snapshot of a package as it is now, and what of the host it depends on.
func (h *Host) packageKey(name, architecture, version string, c Contents) (string, []stamp) {
	watch := h.stamps(slices.Concat(c.Config, h.made(name)))
	return hashOf(name, architecture, version, c.Fingerprint, fmt.Sprint(watch)), watch
}

// linksKey returns the key of the record that HostLinks had a digest when what it depends on had these stamps.
func linksKey(digest string, watch []stamp) string {
	return hashOf(HostLinks, digest, fmt.Sprint(watch))
}

// load reads a cache entry into v; false is a miss, whatever is wrong with it.
func load(file string, v any) bool {
	data, err := os.ReadFile(file)
	return err == nil && json.Unmarshal(data, v) == nil
}

func save(file string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return writeFile(file, data)
}

// hashOf returns a short name for a list of texts.
func hashOf(texts ...string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %q", pinFormat, texts))
	return hex.EncodeToString(sum[:20])
}
