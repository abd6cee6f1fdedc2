// Package observe turns the system calls of a jail into its audit: it reads paths from the callers' memory, finds out where
// they lead and how the call ended, adds up equal accesses, and judges each once. What sees the calls is an observer of its
// own: package seccomp's supervisor, wired by jail/container, or jail/observe/ptrace. What owns a path and what the host has
// at it comes in by interfaces. Nothing here stops a build: mounts and filters do that.
package observe
