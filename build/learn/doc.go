// Package learn writes the spec that a recorded run would have needed: packages rather than paths, as few as there can be, with
// the reason for each, and what of a whitelist was never used. It decides from an audit and from what it is told of the host,
// by an interface; it opens nothing and runs nothing, so most of its tests are tables.
package learn
