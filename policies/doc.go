// Package policies holds what a build may do and how it is judged: Mode, Policy, Access, Verdict and the system call
// rules, as data. It is pure: it opens nothing, asks the kernel nothing and imports none of hdjail's packages.
//
// What enforces a policy lives elsewhere: mounts in jail/container, filters in seccomp.
package policies
