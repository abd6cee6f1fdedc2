//go:build !cgo || !seccomp

package seccomp

import (
	"errors"

	"hdjail/policies"
)

// Compile refuses: this binary was built without libseccomp. See the file with the build tag for what it does.
func Compile([]policies.SyscallRule) (program []byte, unknown []string, err error) {
	return nil, nil, errors.New("hdjail was built without libseccomp: build it with make build")
}
