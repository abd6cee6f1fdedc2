// Package sitelog keeps the log of who had what built: lines of JSON that are only ever appended, each of which holds the hash
// of the one before it, so that a line that is changed, removed or moved breaks the chain. How long the chain is and how it
// ends stands in a second file, so that a missing end is noticed, too.
//
// Whoever can write both files can write another history. A site that fears that keeps the last hash, which verify prints,
// elsewhere.
package sitelog
