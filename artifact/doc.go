// Package artifact owns identities, the tree encoding and its digest, and the store: derivations, realizations, build
// records, locks and temporary directories. Every path below a store is made here.
//
// It never runs a build and knows no jail, spec file or host package database. Sub-packages read output trees
// (artifact/collect).
package artifact
