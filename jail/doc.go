// Package jail is the pure half of containment: what a jail is given (Config), what it gives back (Result), and the
// interface of what runs it (Runner). It makes no namespace and no system call.
//
// jail/container runs a Config with libcontainer, jail/reexec holds the code that runs inside before the build does,
// jail/observe makes the record of what a command touches, and jail/jailtest is a Runner for tests of packages above.
package jail
