// Package links decides which symbolic links and copies make up a tree: rules with Ant-style globs select paths of source
// trees and say where they go. Plan decides everything and lists all conflicts before anything is written; Apply does what
// a plan says and decides nothing. Which artifacts are linked, and where the result is kept, belongs to package profile.
package links
