package main

import (
	"errors"
	"fmt"
)

// Exit statuses; a command that `hdjail run` ran passes its own on.
const (
	exitDone        = 0
	exitOther       = 1
	exitUsage       = 2
	exitInterrupted = 130
)

// exitStatus is an error that has been dealt with: the program ends with this status and prints nothing more.
type exitStatus int

func (e exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// usageError is a command line that means nothing.
type usageError struct{ Text, Help string }

func (e *usageError) Error() string { return e.Text }

func usagef(text, help string) *usageError { return &usageError{text, help} }

// exit prints err and returns the exit status that it stands for.
func (a *app) exit(err error) int {
	var status exitStatus
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &status):
		return int(status)
	}
	a.out.say("error: %v", err)
	return exitOther
}
