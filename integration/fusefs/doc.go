// Package fusefs is a file system for tests: it passes everything on to a directory, and refuses what the file systems of
// some sites do not have: hard links, extended attributes, locks of any kind, files without a name, renames with flags,
// blocks that are shared. Its times are coarse. What changes the directory can be made to fail, or be watched, one operation
// at a time.
//
// It is no part of the product, and knows nothing of stores.
package fusefs
