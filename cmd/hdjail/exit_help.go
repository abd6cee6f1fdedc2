package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"hdjail/artifact/store"
)

const gcHelp = "hdjail gc frees what nothing refers to any more"

// spaceHelp is for a build that failed for want of space: its own words say so, or we had none for its record either.
func spaceHelp(err error, log []string) []string {
	if p, full := diagnoseSpace(err); full {
		return p.Help
	}
	for _, line := range log {
		if strings.Contains(line, "No space left on device") || strings.Contains(line, "Disk quota exceeded") {
			return helps(gcHelp)
		}
	}
	return nil
}

// diagnoseSpace names the file system that is full, as far as the error does.
func diagnoseSpace(err error) (problem, bool) {
	p, where := problem{Code: "HJ0051"}, ""
	var space *store.SpaceError
	var file *os.PathError
	var link *os.LinkError
	switch {
	case errors.As(err, &space):
		p.Text, where = space.Error(), space.Root
	case !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EDQUOT):
		return p, false
	case errors.As(err, &file):
		where = file.Path
	case errors.As(err, &link):
		where = link.New
	}
	of := "that is full"
	if filepath.IsAbs(where) {
		of = "of " + where
	}
	p.Help = helps(gcHelp, "or free space in the file system "+of+", or enlarge it", "or keep the store on another one: --store DIR")
	return p, true
}

const elsewhereHelp = "get the archive from another place; or write unpack: none and target: NAME in the source, and unpack it in the script"

// refusalHelp says what to do about each kind of unpack.Refusal.
var refusalHelp = map[string]string{
	"absolute": elsewhereHelp, "dotdot": elsewhereHelp, "name": elsewhereHelp, "through-symlink": elsewhereHelp, "link-outside": elsewhereHelp,
	"target":   "target: is a relative path without \"..\"",
	"special":  "a source has only files, directories and symbolic links: take everything else out of it",
	"conflict": "give one of the sources another target: DIR",
	"limit":    "write unpack: none and target: NAME in the source, and unpack it in the script",
	"archive":  "if it is no archive, write unpack: none and target: NAME in the source; if it is one, it is damaged: get it again",
}

var notFoundHelp = map[string]string{"derivation": "hdjail list shows what the store has", "realization": "hdjail list shows what the store has",
	"derivation or realization": "name a spec file, or an ID that hdjail list shows", "build record": "nothing was built in this store yet",
	"source": "hdjail fetch SPEC brings it", "root": "hdjail list --roots shows them",
	"audit": "runs in mode off are not recorded, nor were those of older versions; hdjail build SPEC records"}

// helps are the help lines that are not empty.
func helps(lines ...string) []string {
	var list []string
	for _, line := range lines {
		if line != "" {
			list = append(list, line)
		}
	}
	return list
}

func list(intro string, items []string) string {
	if len(items) == 0 {
		return ""
	}
	return intro + strings.Join(items, ", ")
}
