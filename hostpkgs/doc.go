// Package hostpkgs shows builds the installed packages of the host, and no more than was whitelisted. It expands names to
// their dependency closure, snapshots the files of each package once, keyed by the digest of what was copied, and composes
// a closure into one tree that a jail binds read-only.
//
// What a package database leaves out belongs here: usr-merge links, alternatives, files made by maintainer scripts, the
// cache of the dynamic linker. The databases themselves are in hostpkgs/dpkg and hostpkgs/rpm, canonical trees in
// hostpkgs/tree, and hostpkgs/index finds who owns a path. The digest function and the directory are handed in; nothing
// here knows the store, a spec or a jail.
//
// Below Config.Dir are packages/<digest>/ (snapshots, read-only), trees/<key>/ (compositions, read-only), pins/ and
// owners/ (caches that may be deleted at any time) and tmp/ (what a killed process leaves; the next one that writes
// sweeps it).
package hostpkgs
