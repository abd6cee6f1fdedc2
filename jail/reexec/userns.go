package reexec

// #include <stdlib.h>
// #include "userns.h"
import "C"

import (
	"fmt"
	"os"
	"unsafe"
)

// UserNamespace makes a user namespace in which id 0 is the host's id, as uid and as gid. Needs root. No process is left in
// it, and the caller closes the file.
func UserNamespace(id int) (*os.File, error) {
	mapping := C.CString(fmt.Sprintf("0 %d 1\n", id))
	defer C.free(unsafe.Pointer(mapping))
	fd, err := C.hdjail_userns(mapping)
	if fd < 0 {
		return nil, os.NewSyscallError("clone", err)
	}
	return os.NewFile(uintptr(fd), "user namespace"), nil
}
