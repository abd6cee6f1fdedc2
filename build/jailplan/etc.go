package jailplan

import (
	"maps"
	"slices"
	"strconv"

	"hdjail/jail"
	"hdjail/mounts"
)

// blankName is an empty file, shown in place of a hidden one.
const blankName = "blank"

// etcFiles are the generated files of /etc: one user besides root, no network name but the own.
func etcFiles() map[string]string {
	id := strconv.Itoa(jail.UserID)
	return map[string]string{
		"passwd": "root:x:0:0:root:/root:/bin/sh\n" +
			jail.UserName + ":x:" + id + ":" + id + ":build user:/tmp/home:/bin/sh\n" +
			"nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
		"group":         "root:x:0:\n" + jail.UserName + ":x:" + id + ":\nnogroup:x:65534:\n",
		"hosts":         "127.0.0.1 localhost\n::1 localhost\n",
		"nsswitch.conf": "passwd: files\ngroup: files\nshadow: files\nhosts: files\nservices: files\nprotocols: files\n",
	}
}

func etcNames() []string { return slices.Sorted(maps.Keys(etcFiles())) }

// GeneratedDir is the directory of a scratch, beside those of the build, that holds what Generated returns.
const GeneratedDir = "generated"

func (v View) generated(name string) string { return v.Scratch.Dir + "/" + GeneratedDir + "/" + name }

// Generated returns the files, by name, that have to be in GeneratedDir before a planned jail runs.
func Generated() map[string]string {
	files := etcFiles()
	files[blankName] = ""
	return files
}

// etc shows the generated files: over those of the Tree where it has an /etc, else in the skeleton.
func (v View) etc() []mounts.Entry {
	inTree := false
	for _, t := range v.Tree.Top {
		inTree = inTree || t.Name == "etc"
	}
	var list []mounts.Entry
	files := etcFiles()
	for _, name := range etcNames() {
		e := mounts.Entry{Target: "/etc/" + name, Kind: mounts.File, Source: files[name], Why: "generated"}
		if inTree {
			e.Kind, e.Source = mounts.Bind, v.generated(name)
		}
		list = append(list, e)
	}
	return list
}
