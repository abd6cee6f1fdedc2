// Package store keeps derivations, realizations, build records, locks and temporary directories below one root
// directory, and makes every path there. What is published appears by one rename, complete and immutable; what a crash
// leaves is below tmp/ and locks/ and is swept by the next start.
//
// It runs no build, reads no spec and trusts no tree: outputs are made canonical by artifact/collect before they are
// registered.
package store
