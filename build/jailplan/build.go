package jailplan

import (
	"encoding/json"
	"maps"
	"path"
	"slices"
	"strconv"

	"hdjail/artifact"
	"hdjail/jail"
	"hdjail/mounts"
)

// Build is what a build needs besides its View.
type Build struct {
	View
	Derivation *artifact.Derivation
	// Artifact is the value of $ARTIFACT, the public path of the derivation.
	Artifact string
	Limits   jail.Limits
	// Jobs is the value of $JOBS, at least 1. It is passed, but enters no identity.
	Jobs int
	// Shell replaces the script by a command, which the user talks to.
	Shell []string
}

// Config plans the jail of a build.
func (b Build) Config() (jail.Config, error) {
	table, err := b.table(
		mounts.Entry{Target: b.Artifact, Kind: mounts.Bind, Source: b.Scratch.Out(), Directory: true, Writable: true, Why: "$ARTIFACT"},
		mounts.Entry{Target: path.Dir(scriptPath), Kind: mounts.Skeleton, Why: "the build's own"},
		mounts.Entry{Target: scriptPath, Kind: mounts.File, Source: b.Derivation.Script, Why: "the script"})
	if err != nil {
		return jail.Config{}, err
	}
	args := append(slices.Clone(b.Derivation.Interpreter), scriptPath)
	if b.Shell != nil {
		args = b.Shell
	}
	return jail.Config{Name: b.Name, Scratch: b.Scratch, Mounts: table, Mode: b.Mode, Policy: b.Policy, Args: args,
		Env: b.environment(), Dir: jail.BuildDir, Limits: b.Limits, Terminal: b.Shell != nil}, nil
}

// baseEnvironment is what every contained command starts with. Time is UTC, text is UTF-8, and archives that the build
// makes get a date that all formats can hold (zip begins in 1980).
func baseEnvironment() map[string]string {
	return map[string]string{
		"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "SHELL": "/bin/sh", "TERM": "dumb", "LC_ALL": "C.UTF-8", "TZ": "UTC",
		"HOME": "/tmp/home", "USER": jail.UserName, "LOGNAME": jail.UserName, "SOURCE_DATE_EPOCH": "315532800",
		"TMPDIR": "/tmp", "TMP": "/tmp", "TEMP": "/tmp", "TEMPDIR": "/tmp",
		"BUILD": jail.BuildDir, "PWD": jail.BuildDir,
	}
}

func (b Build) environment() []string {
	env := baseEnvironment()
	maps.Copy(env, b.Derivation.Environment)
	env["ARTIFACT"] = b.Artifact
	env["JOBS"] = strconv.Itoa(max(b.Jobs, 1))
	for _, d := range b.Dependencies {
		if d.As == "" {
			continue
		}
		env[d.As+"_ID"] = d.ID.String()
		env[d.As+"_DIR"] = d.Public
		if d.Many {
			env[d.As+"_DIR"] = manyDir + "/" + d.As
		}
	}
	return flatten(env)
}

func flatten(env map[string]string) []string {
	list := make([]string, 0, len(env))
	for _, name := range slices.Sorted(maps.Keys(env)) {
		list = append(list, name+"="+env[name])
	}
	return list
}

// Place is the path in the jail of the i-th of the trees.
func (d Dependency) Place(i int) string {
	if d.Many {
		return d.manyPath(i)
	}
	return d.Public
}

func (d Dependency) manyPath(i int) string { return manyDir + "/" + d.As + "/" + strconv.Itoa(i) }

// index is the list of identities that lies beside the trees of a dependency with many.
func (d Dependency) index() string {
	ids := make([]string, len(d.IDs))
	for i, id := range d.IDs {
		ids[i] = id.String()
	}
	text, _ := json.Marshal(ids) // strings only
	return string(text) + "\n"
}
