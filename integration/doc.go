// Package integration tests the built binary: attacks on a jail, scripts of the command line, and the benchmark in bench/.
// It holds no code of the product.
package integration
