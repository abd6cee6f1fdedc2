// Package gc decides what of a store goes, and removes it. Read looks at the store, Plan decides, purely, and Apply obeys
// one step at a time: after each of them, wherever a crash cuts it off, everything that is left is complete.
//
// What a root is, and the lock that keeps new ones away meanwhile, are of artifact/store; profiles hand theirs in.
package gc
