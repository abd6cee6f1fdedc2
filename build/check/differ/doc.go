// Package differ says where two trees differ: which entries, from which byte on, and which part of a file that is, like the
// section of an ELF file or the member of an archive. It reads trees that do not change, and believes nothing that they say
// of themselves. What differences mean is not decided here.
package differ
