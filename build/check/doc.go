// Package check builds a derivation again, in jails and for callers that differ in what no build should depend on, and compares
// what comes out: the trees, and what the runs did. Each run is a process of its own, which gets a Request. How a jail is
// changed is in build and jail, how trees and traces are compared in differ and in build/trace; nothing is printed here.
package check
