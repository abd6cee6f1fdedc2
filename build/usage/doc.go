// Package usage answers questions across a store: which artifacts used a file or a package of the host, which were built with
// packages that have changed since, which whitelists have entries that nothing used. It keeps an index of what audits and
// derivations say, a cache on a local disk that may be deleted at any time: the truth is the store's files, a realization that
// is new there is read once, one that is gone is not reported any more, and a damaged index is made again.
//
// The index is a directory of segments, immutable files that each cover some realizations. An update writes one more; when
// there are many, small ones are joined. Processes may update one directory at once: at worst they do work twice.
package usage
