// Package unpack writes the members of an archive below a directory that is handed in as a descriptor, and nothing
// anywhere else. Archives are foreign bytes: what they are is seen from the bytes, names are checked before use, and an
// archive that breaks a rule is refused whole with *Refusal. What was written before is left to the caller to remove.
//
// Every entry gets the same time, Time: two generated files are then never older than what they were made from, and a
// build sees the same tree whenever it was unpacked. Where digests and archives come from is not known here.
package unpack

import (
	"fmt"
	"strings"
)

// Limits of every archive and tree.
const (
	maxDepth   = 128
	maxName    = 255
	maxPath    = 4096
	maxEntries = 4_000_000
	// maxBytes is the content of one tree, unless Options say less.
	maxBytes = 64 << 30
	// An archive may hold maxRatio times its own size, and freeBytes in any case. gzip reaches 1030 at most.
	maxRatio  = 1000
	freeBytes = 256 << 20
	// maxWindow is what a decompressor may keep: xz -9 takes 64 MiB, zstd --ultra 128 MiB.
	maxWindow = 128 << 20
	// maxDirectory is the size of a zip's central directory, which is held in memory: some 250,000 members.
	maxDirectory = 32 << 20
)

// Time is the modification time of every entry, in seconds: the first of January 1980, the earliest that zip can say.
const Time = 315532800

// Refusal reports an archive that breaks a rule. Kind is the rule: "absolute", "dotdot" or "name" (of a member), "target"
// (where to unpack), "through-symlink" (a path that passes a symbolic link), "link-outside" (a hard link to anything but
// an earlier file of the archive), "special" (a device, pipe or unknown member), "conflict" (a path twice), "limit" or
// "archive" (unreadable). Name is the member, empty for the archive itself.
type Refusal struct {
	Kind, Name string
	Err        error
}

// meanings say what is wrong with an entry, for each kind of Refusal but "archive".
var meanings = map[string]string{
	"absolute":        `its name begins with "/"`,
	"dotdot":          `its name has ".." in it`,
	"name":            "no file can have that name",
	"target":          "it is not a path below the build directory",
	"through-symlink": "it would be written through a symbolic link",
	"link-outside":    "it is a hard link to what is no earlier file of the archive",
	"special":         "it is a device, a pipe, a socket or of an unknown type",
	"conflict":        "that path is taken: an earlier source has it, or this one has it twice",
	"limit":           "with it the content, the number of entries, or a name is larger than allowed",
}

// Error implements error, in one line.
func (r *Refusal) Error() string {
	text := fmt.Sprintf("refuse %q: %s (rule %q)", r.Name, meanings[r.Kind], r.Kind)
	switch {
	case r.Kind == "archive" && r.Name != "":
		text = fmt.Sprintf("refuse %q: it cannot be read as the entry of an archive (rule %q)", r.Name, r.Kind)
	case r.Kind == "archive":
		text = fmt.Sprintf("refuse it: it cannot be read as an archive (rule %q)", r.Kind)
	case r.Kind == "limit" && r.Name == "":
		text = fmt.Sprintf("refuse it: the content is larger than allowed (rule %q)", r.Kind)
	}
	if r.Err != nil {
		text += ": " + r.Err.Error()
	}
	return text
}

// Unwrap returns the cause, or nil.
func (r *Refusal) Unwrap() error { return r.Err }

func refuse(kind, name string) error { return &Refusal{Kind: kind, Name: name} }

// split returns the components of a member's name without empty ones and ".": none for the top directory.
func split(name string) ([]string, error) {
	switch {
	case strings.HasPrefix(name, "/"):
		return nil, refuse("absolute", name)
	case strings.ContainsRune(name, 0):
		return nil, refuse("name", name)
	case len(name) > maxPath:
		return nil, refuse("limit", name[:maxName])
	}
	var parts []string
	for part := range strings.SplitSeq(name, "/") {
		switch {
		case part == "..":
			return nil, refuse("dotdot", name)
		case len(part) > maxName:
			return nil, refuse("limit", name)
		case part != "" && part != ".":
			parts = append(parts, part)
		}
	}
	if len(parts) > maxDepth {
		return nil, refuse("limit", name)
	}
	return parts, nil
}
