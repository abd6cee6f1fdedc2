// Package seccomp turns the system call rules of package policies into filter programs, by libseccomp. Stage 2 of the
// jail loads the programs; nothing here is ever in force in hdjail's own process.
//
// libseccomp is C: the package needs cgo and the build tag seccomp. Without them Compile refuses.
package seccomp
