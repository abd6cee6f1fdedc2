// Package leaks looks for what an artifact refers to without a file access that anybody could have recorded: the libraries
// and the interpreter that the dynamic linker will load for its ELF files, and the absolute paths written in its files. It
// says what each belongs to: the artifact, a dependency, a whitelisted package, or nothing of these, which is a leak.
//
// It only reads. What the host has, and which package owns it, is told by functions of the caller; whether a leak fails a
// build is decided elsewhere.
//
// The dynamic linker is glibc's. Not followed are the glibc-hwcaps directories below a library directory, environment
// variables, libraries that a program opens by itself (dlopen(3)), and the program that a script names to env(1). What is
// told is what the linker finds in the view of the build's jail. Compressed content is not looked into, and in a binary
// file a build directory that directly follows other text is not seen.
package leaks
