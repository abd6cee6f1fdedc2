// Package jailplan decides what a jail looks like: its mount table, environment and command, as a jail.Config. It is pure:
// what there is on the machine is handed in, and nothing is opened. The caller runs the Config or prints it.
package jailplan
