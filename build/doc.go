// Package build turns specs into realizations: it loads a graph of specs, resolves it to derivations (Plan), and realizes
// what is missing in jails (Builder). Builder.Build is one build from beginning to end; start reading there.
//
// It makes no namespace and needs no cgo: a jail.Runner comes in from outside, and so do host packages and sources.
// build/spec reads spec files, build/jailplan decides what a jail looks like, build/sources fetches and places inputs.
package build
