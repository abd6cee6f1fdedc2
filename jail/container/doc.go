// Package container runs jails with libcontainer: it is the Runner behind every build and every `hdjail run`. It applies a
// jail.Config and decides nothing about it; what a build sees is planned elsewhere.
//
// Only this package and jail/reexec know libcontainer. Programs that use it must import jail/reexec by _.
package container
