// Package compare tells why two identities differ: derivations down to the field, realizations down to the line or byte, and in
// both what is a cause apart from what merely follows from it. It reads, through what it is handed, and changes nothing. What an
// identity stands for, and what to do about a difference, is decided elsewhere.
package compare
