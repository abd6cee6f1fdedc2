// Package verify compares everything in a store with what its name says: trees, derivations, manifests, build records, logs,
// sources and snapshots of host packages. Check only reads. Quarantine moves what is damaged out of the way, never deletes
// it, and says what can be made anew; to build and to fetch is the caller's.
package verify
