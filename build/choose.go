package build

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"hdjail/artifact"
	"hdjail/artifact/match"
	"hdjail/build/jailplan"
	"hdjail/jail"
)

// ChooserError reports the script of a matcher that gave no answer.
type ChooserError struct {
	// File is the script's spec.
	File   string
	Reason string
	// LogTail are the last lines that it printed to standard error, without control characters.
	LogTail []string
}

// Error implements error: one line.
func (e *ChooserError) Error() string { return fmt.Sprintf("match script(%s): %s", e.File, e.Reason) }

const (
	// chooserWall bounds a script whose spec states no limit of time.
	chooserWall = 5 * time.Minute
	// maxAnswer is how many bytes it may print.
	maxAnswer = 1 << 20
)

// offered is a candidate as a script reads it.
type offered struct {
	ID         artifact.RealizationID `json:"id"`
	Derivation artifact.DerivationID  `json:"derivation"`
	Context    artifact.Context       `json:"context"`
	Tree       artifact.TreeDigest    `json:"tree"`
	Path       string                 `json:"path"`
	Records    []offeredRecord        `json:"records"`
}

type offeredRecord struct {
	Number int `json:"number"`
	artifact.BuildRecord
}

// choose runs the script of the step's matcher: a jail like that of a build, but for the output and dependencies, in whose
// place it has the candidates.
func (b *Builder) choose(ctx context.Context, t Task, candidates []artifact.Realization) (answer match.Answer, err error) {
	step := t.Step.Chooser
	if b.Runner == nil {
		return answer, fmt.Errorf("match %s: its script needs a jail, and this command starts none", t.Step.Matcher)
	}
	quiet := *b // its phases are none of the plan's
	quiet.Events = nil
	if err := quiet.fetch(ctx, step); err != nil {
		return answer, err
	}
	r, err := quiet.newRun(ctx, Task{Step: step, Jobs: 1})
	if err != nil {
		return answer, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	if err := r.placeSources(ctx); err != nil {
		return answer, err
	}
	printed, result, err := r.runChooser(ctx, candidates)
	if err != nil {
		return answer, err
	}
	answer, reason := readAnswer(printed, result)
	if reason != "" {
		err = &ChooserError{step.Spec.File, reason, r.log.last()}
	}
	return answer, err
}

// runChooser plans the jail and runs the script in it. What it prints is returned, what it says to standard error is logged.
func (r *run) runChooser(ctx context.Context, candidates []artifact.Realization) (printed []byte, result jail.Result, err error) {
	view, err := r.b.view(ctx, r.t, r.scratch)
	if err != nil {
		return nil, result, err
	}
	if r.t.Step.Limits.Wall == 0 {
		r.limits.Wall = chooserWall
	}
	var shown []jailplan.Candidate
	var list []offered
	for _, c := range candidates {
		at := jailplan.Candidate{ID: c.ID, Out: r.b.Store.OutPath(c.ID)}
		o := offered{c.ID, c.Derivation, c.Context, c.Tree, at.Place(), nil}
		for _, record := range c.Records {
			o.Records = append(o.Records, offeredRecord{record.Number, record})
		}
		shown, list = append(shown, at), append(list, o)
	}
	config, err := jailplan.Choice{View: view, Derivation: &r.t.Step.Derivation, Candidates: shown, Limits: r.limits}.Config()
	if err != nil {
		return nil, result, err
	}
	if err := PrepareScratch(config); err != nil {
		return nil, result, err
	}
	if config.Stdin, err = r.offer(list); err != nil {
		return nil, result, err
	}
	defer config.Stdin.Close()
	out := &bounded{left: maxAnswer}
	config.Stdout, config.Stderr = out, r.log
	result, err = r.b.Runner.Run(ctx, config)
	r.log.flush()
	return out.Bytes(), result, err
}

// offer writes the candidates to a file that the script reads as its standard input.
func (r *run) offer(list []offered) (*os.File, error) {
	text, err := json.Marshal(append([]offered{}, list...))
	if err != nil {
		return nil, err
	}
	path := r.temp.Dir + "/candidates.json"
	if err := os.WriteFile(path, append(text, '\n'), 0o400); err != nil {
		return nil, err
	}
	return os.Open(path)
}

// readAnswer makes an answer of what a script printed, or says why it is none.
func readAnswer(printed []byte, result jail.Result) (a match.Answer, reason string) {
	switch {
	case result.Stopped != "":
		return a, "its script was stopped at its limit of " + result.Stopped
	case result.Exit != 0:
		return a, fmt.Sprintf("its script ended with exit status %d", result.Exit)
	case len(printed) > maxAnswer:
		return a, fmt.Sprintf("its script printed more than %d bytes", maxAnswer)
	}
	var said struct {
		Select []artifact.RealizationID `json:"select"`
		Build  int                      `json:"build"`
		Error  string                   `json:"error"`
	}
	decoder := json.NewDecoder(bytes.NewReader(printed))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&said); err != nil {
		return a, `its script did not print {"select": [ID, ...]}, {"build": N} or {"error": TEXT}: ` + err.Error()
	}
	if decoder.More() {
		return a, "its script printed more than one answer"
	}
	if said.Error != "" {
		return a, printable(said.Error)
	}
	return match.Answer{Select: said.Select, Need: said.Build}, ""
}

// bounded keeps what is written to it, one byte more than left at most.
type bounded struct {
	bytes.Buffer
	left int
}

// Write implements io.Writer.
func (b *bounded) Write(p []byte) (int, error) {
	b.Buffer.Write(p[:min(len(p), b.left+1-b.Len())])
	return len(p), nil
}
