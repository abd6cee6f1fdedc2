package jailtest

import (
	"bytes"
	"context"
	"errors"
	"os"
	"testing"

	"hdjail/jail"
)

// TestRunner: the fake keeps the contract of jail.Runner.
func TestRunner(t *testing.T) {
	started, missing, odd := make(chan struct{}), &jail.Unsupported{Feature: "x"}, errors.New("odd")
	r := &Runner{Scripts: map[string]Script{
		"good": {Files: map[string]string{"bin/a": "x"}, Links: map[string]string{"lib/l": "../bin/a"}, Log: "hi\n"},
		"exit": {Result: jail.Result{Exit: 3}}, "log": {Log: "too long"}, "unsupported": {Err: missing},
		"hangs": {Started: started, Wait: make(chan struct{})}, "odd": {Do: func(jail.Config) error { return odd }},
	}}
	s, err := r.Scratch(t.Context(), t.TempDir())
	if err != nil || r.Open() != 1 {
		t.Fatalf("scratch %v, %v; %d open", s, err, r.Open())
	}
	var out bytes.Buffer
	config := jail.Config{Scratch: s, Args: []string{"/bin/sh"}, Dir: "/build", Stdout: &out, Limits: jail.Limits{Log: 5}}
	play := func(ctx context.Context, name string) (jail.Result, error) {
		config.Name = name
		return r.Run(ctx, config)
	}
	if result, err := play(t.Context(), "good"); err != nil || result.Exit != 0 || out.String() != "hi\n" {
		t.Errorf("good: %+v, %v, %q", result, err, out.String())
	}
	if text, err := os.ReadFile(s.Out() + "/lib/l"); err != nil || string(text) != "x" {
		t.Errorf("good left %q, %v", text, err)
	}
	if result, err := play(t.Context(), "exit"); err != nil || result.Exit != 3 {
		t.Errorf("exit: %+v, %v", result, err)
	}
	if result, err := play(t.Context(), "log"); err != nil || result.Stopped != "log" {
		t.Errorf("log: %+v, %v", result, err)
	}
	if _, err := play(t.Context(), "unsupported"); err != missing {
		t.Errorf("unsupported: %v", err)
	}
	if _, err := play(t.Context(), "odd"); !errors.Is(err, odd) {
		t.Errorf("odd: %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		<-started
		cancel(odd)
	}()
	if _, err := play(ctx, "hangs"); !errors.Is(err, odd) {
		t.Errorf("cancelled: %v", err)
	}
	if n := len(r.Runs()); n != 5 {
		t.Errorf("%d runs, want those that were started", n)
	}
	config.Dir = "relative"
	var refused *jail.SetupError
	if _, err := play(t.Context(), "good"); !errors.As(err, &refused) {
		t.Errorf("a configuration that no runner takes: %v", err)
	}
	if err := errors.Join(s.Close(), s.Close()); err != nil || r.Open() != 0 {
		t.Errorf("close: %v, %d open", err, r.Open())
	}
	if _, err := os.Stat(s.Out()); err != nil {
		t.Errorf("the scratch is not left to its owner: %v", err)
	}
}
