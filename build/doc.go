// Package build realizes plans: it builds what is missing, in jails. Builder.Build is one build from beginning to end; start
// reading there.
//
// It makes no namespace and needs no cgo: a jail.Runner comes in from outside, and so do host packages and sources.
// build/spec reads spec files, build/plan resolves them, build/jailplan decides what a jail looks like, build/sources fetches
// and places inputs.
package build
