package jailplan

import (
	"maps"
	"path"
	"slices"

	"hdjail/artifact"
	"hdjail/jail"
	"hdjail/mounts"
)

// candidatesDir is where the script of a matcher sees what it chooses from.
const candidatesDir = "/candidates"

// Choice is what the script of a matcher needs besides its View.
type Choice struct {
	View
	Derivation *artifact.Derivation
	Candidates []Candidate
	Limits     jail.Limits
}

// Candidate is a realization that may be selected. Out is the host path of its tree.
type Candidate struct {
	ID  artifact.RealizationID
	Out string
}

// Place is the path in the jail of the candidate's tree.
func (c Candidate) Place() string { return candidatesDir + "/" + c.ID.String() }

// Config plans the jail of a script: that of a build without output and dependencies, with the candidates, read-only.
func (c Choice) Config() (jail.Config, error) {
	entries := []mounts.Entry{
		{Target: candidatesDir, Kind: mounts.Skeleton, Why: "what there is to choose from"},
		{Target: path.Dir(scriptPath), Kind: mounts.Skeleton, Why: "the matcher's own"},
		{Target: scriptPath, Kind: mounts.File, Source: c.Derivation.Script, Why: "the script"}}
	for _, candidate := range c.Candidates {
		entries = append(entries, mounts.Entry{Target: candidate.Place(), Kind: mounts.Bind, Source: candidate.Out, Directory: true, Why: "a candidate"})
	}
	table, err := c.table(entries...)
	if err != nil {
		return jail.Config{}, err
	}
	env := baseEnvironment()
	maps.Copy(env, c.Derivation.Environment)
	return jail.Config{Name: c.Name, Scratch: c.Scratch, Mounts: table, Mode: c.Mode, Policy: c.Policy,
		Args: append(slices.Clone(c.Derivation.Interpreter), scriptPath), Env: flatten(env), Dir: jail.BuildDir, Limits: c.Limits}, nil
}
