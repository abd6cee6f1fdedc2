// Package report shows an audit: as lines for people, as CSV and as SARIF, and what differs between two. It is pure: it
// prints nothing and opens nothing.
//
// All text of an audit comes from a build and may be hostile. Lines that this package returns are safe for a terminal:
// one line each, without control bytes. They need no further escape, and suffer none from another one.
package report
