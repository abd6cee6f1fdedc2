// Package why answers why something depends on a derivation or on a host package: which ways lead there. It is handed the graph and
// what else it has to ask, and opens nothing.
package why
