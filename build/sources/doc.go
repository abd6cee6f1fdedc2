// Package sources keeps the inputs of builds: it fetches them before the build and outside any jail, verifies every byte
// against a digest, stores them read-only below <root>/sources and places them into build directories.
//
// A source is known by its digest alone; a URL is a hint where to look. The digest is checked when a source enters the
// store and again each time it is placed. Unpacking is the sub-package unpack, reading a host's package sources the
// sub-package debsrc. What a spec says about sources, and what a build does with them, is not here.
package sources
