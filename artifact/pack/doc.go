// Package pack carries realizations from one store to another: as an archive, or directly. It selects what goes along,
// writes the archive, and reads one without trusting anything that it says.
//
// An archive is a tar in the POSIX format, compressed with zstd. Its members are sorted as the entries of a tree are, and
// are all that it may hold:
//
//	archive.json                               what is in it, see Header
//	derivations/<id>.json                      as in a store
//	realizations/<rid>/{audit.jsonl.zst,log.zst}   of the run that made it, if it has them
//	realizations/<rid>/manifest.json           see Manifest
//	realizations/<rid>/out/...                 the tree: files 0444 or 0555, directories 0555
//	sources/{blake3,sha256}/<digest>           what the derivations are built from, if that was asked for
//	sources/tree/<digest>/...                  likewise
//
// Members have no owner and the time 1. For one store and one request the bytes before compression are always the same.
//
// What a store looks like inside is known to artifact/store, which also publishes what arrives. Which realization a build
// takes is decided by matchers, when it has arrived.
package pack
