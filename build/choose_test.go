package build

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hdjail/jail"
	"hdjail/jail/jailtest"
	"hdjail/mounts"
)

// TestChoose: the script of a matcher gets the candidates in one order, and everything that it may answer is understood or refused.
func TestChoose(t *testing.T) {
	s := newSite(t, map[string]string{"a.yaml": minimal("a") + "match: script(pick.yaml)\n", "pick.yaml": minimal("pick") + "environment: {WORD: x}\n"})
	p := s.plan("a")
	a := p.Steps[0]
	chooser := a.Matcher
	a.Matcher = matcher(t, "some(2)")
	runs := 0
	s.runner.Scripts["a"] = jailtest.Script{Do: func(c jail.Config) error {
		runs++
		return os.WriteFile(filepath.Join(c.Scratch.Out(), "f"), fmt.Append(nil, runs), 0o644)
	}}
	s.expect(p, Options{}, "a built")
	all, err := s.store.Realizations(a.ID)
	if err != nil || len(all) != 2 {
		t.Fatalf("realizations %v, %v", all, err)
	}
	a.Matcher = chooser
	one, two := all[0].ID.String(), all[1].ID.String()
	for _, c := range []struct {
		script jailtest.Script
		want   string
	}{
		{jailtest.Script{Log: `{"select": ["` + two + `"]}`}, two},
		{jailtest.Script{Log: `{"select": ["` + two + `", "` + one + `", "` + two + `"]}` + "\n"}, one + " " + two},
		{jailtest.Script{Log: `{"select": []}`}, "it selects nothing"},
		{jailtest.Script{Log: `{}`}, "it selects nothing"},
		{jailtest.Script{Log: `{"select": ["` + strings.Repeat("a", 32) + `"]}`}, "it selects " + strings.Repeat("a", 32) + ", which is no candidate"},
		{jailtest.Script{Log: `{"select": ["` + one + `"], "build": 1}`}, "it selects, and asks for builds"},
		{jailtest.Script{Log: `{"build": -1}`}, "it asks for -1 builds"},
		{jailtest.Script{Log: `{"error": "no\u001bgood"}`}, `no\x1bgood`},
		{jailtest.Script{Log: `{"select": "` + one + `"}`}, "its script did not print"},
		{jailtest.Script{Log: `{"choose": []}`}, "its script did not print"},
		{jailtest.Script{Log: ``}, "its script did not print"},
		{jailtest.Script{Log: `{"build": 1} {"build": 1}`}, "its script printed more than one answer"},
		{jailtest.Script{Log: `{"build": 1}` + strings.Repeat(" ", maxAnswer)}, "its script printed more than 1048576 bytes"},
		{jailtest.Script{Log: `{"select": ["` + one + `"]}`, Result: jail.Result{Exit: 1}}, "its script ended with exit status 1"},
		{jailtest.Script{Result: jail.Result{Exit: 137, Stopped: "wall"}}, "its script was stopped at its limit of wall"},
		{jailtest.Script{Err: &jail.Unsupported{Feature: "namespaces"}}, "this host does not offer namespaces"},
	} {
		s.runner.Scripts["pick"] = c.script
		results, err := s.builder.Realize(t.Context(), p, Options{RealizedOnly: true})
		got := ""
		if err != nil {
			got = err.Error()
		} else {
			for _, r := range results[0].Realizations {
				got += " " + r.ID.String()
			}
		}
		if !strings.HasSuffix(got, c.want) && !strings.Contains(got, ": "+c.want) {
			t.Errorf("%.60q: %s, want %s", c.script.Log, got, c.want)
		}
	}
	if runs != 2 {
		t.Errorf("%d builds", runs)
	}
	s.builder.Runner = nil
	if _, err := s.builder.Realize(t.Context(), p, Options{DryRun: true}); !errors.As(err, new(*MatchError)) {
		t.Errorf("without a runner: %v", err)
	}
}

// TestChooserSees: the candidates are read-only, there is no output, and the records tell what each run was.
func TestChooserSees(t *testing.T) {
	s := newSite(t, map[string]string{"a.yaml": minimal("a"), "user.yaml": "hdjail: 1\nname: user\nscript: make\ndependencies: [{spec: a.yaml, match: script(pick.yaml)}]\n",
		"pick.yaml": minimal("pick") + "environment: {WORD: x}\n"})
	s.expect(s.plan("a"), Options{}, "a built")
	p := s.plan("user")
	only := s.only(p.Steps[0])
	var seen []struct {
		ID, Path string
		Records  []struct {
			Number  int
			Purpose string
		}
	}
	s.runner.Scripts["pick"] = jailtest.Script{Do: func(c jail.Config) error {
		text, err := io.ReadAll(c.Stdin)
		if err == nil {
			err = json.Unmarshal(text, &seen)
		}
		fmt.Fprintf(c.Stdout, `{"select": ["%s"]}`, seen[0].ID)
		return err
	}}
	s.expect(p, Options{}, "a cached, user built")
	if len(seen) != 1 || seen[0].ID != only.String() || seen[0].Path != "/candidates/"+seen[0].ID || len(seen[0].Records) != 1 ||
		seen[0].Records[0].Number != 1 || seen[0].Records[0].Purpose != "build" {
		t.Errorf("saw %+v", seen)
	}
	c := s.runner.Runs()[slices.Index(s.order(), "pick")]
	if slices.ContainsFunc(c.Env, func(v string) bool { return strings.HasPrefix(v, "ARTIFACT=") }) || !slices.Contains(c.Env, "WORD=x") ||
		c.Limits.Wall != chooserWall || c.Policy.Network != "none" {
		t.Errorf("configuration %+v", c)
	}
	e, found := c.Mounts.Under(seen[0].Path + "/.")
	if !found || e.Kind != mounts.Bind || e.Writable || e.Source != s.store.OutPath(only) {
		t.Errorf("candidate %+v", e)
	}
	if e, found := c.Mounts.Under(s.store.PublicPath(&p.Steps[0].Derivation) + "/."); found && e.Kind != mounts.Skeleton {
		t.Errorf("the store is shown: %+v", e)
	}
	if answer, reason := readAnswer([]byte(`{"build": 3}`), jail.Result{}); reason != "" || answer.Need != 3 || answer.Select != nil {
		t.Errorf("%+v, %s", answer, reason)
	}
}
