// Package crash kills hdjail, fills its disk and takes features from its file system, and then looks whether the store is what
// it has to be. The tests run the built binary; checker_test.go knows the layout of a store on its own, and only identities
// and digests are the product's. HDJAIL_SOAK=1 has each test try everything, HDJAIL_SEED repeats what chance did.
package crash
