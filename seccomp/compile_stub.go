//go:build !cgo || !seccomp

package seccomp

import (
	"errors"

	"hdjail/policies"
)

// Compile refuses: this binary was built without libseccomp. See the file with the build tag for what it does.
func Compile(Options) (program []byte, unknown []string, err error) { return nil, nil, errStub }

// CompileAllowed refuses, like Compile.
func CompileAllowed(Options) ([]byte, error) { return nil, errStub }

var errStub = errors.New("hdjail was built without libseccomp: build it with make build")

// Number knows no names without libseccomp.
func Number(policies.ABI, string) (int, bool) { return 0, false }
