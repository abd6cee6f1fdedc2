// Package daemon builds for other users: it takes requests from a Unix socket, asks rules about each, queues the builds, and
// passes on what happens. It never opens a path that a caller named: files come as descriptors that the caller could open, and
// everything else is in the store.
//
// The parts: wire is the protocol, rules decides, queue shares the places, sitelog keeps who had what built, metrics counts.
// What takes privilege, like jails and snapshots of packages, comes in as interfaces.
package daemon
