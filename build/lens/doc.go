// Package lens has the reference expressions of specs: text like `${dep.ZLIB.promise:lib/libz.so}` that stands for a path,
// a field of a derivation or the content of an output. It parses them, follows them from build to build, and reads what
// they name. Where they may stand is the business of build/spec; what becomes a dependency by them, that of build/plan.
package lens
