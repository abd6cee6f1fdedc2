// Package jail is the pure half of containment: what a jail is given (Config), what it gives back (Result), and the
// interfaces of what runs it (Runner) and of what watches it (Observer). It makes no namespace and no system call.
//
// jail/container runs a Config with libcontainer, jail/reexec holds the code that runs inside before the build does, and
// jail/jailtest is a Runner for tests of packages above.
package jail
