package audit

import (
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// ErrnoName is the name of an outcome, like "ENOENT", and empty for success. A number without a name is "errno-N".
func ErrnoName(number int) string {
	if number == 0 {
		return ""
	}
	if name := unix.ErrnoName(syscall.Errno(number)); name != "" {
		return name
	}
	return "errno-" + strconv.Itoa(number)
}

// highestErrno is the kernel's own bound (MAX_ERRNO in include/linux/err.h).
const highestErrno = 4095

func errnoNumber(name string) (int, bool) {
	if digits, ok := strings.CutPrefix(name, "errno-"); ok {
		n, err := strconv.Atoi(digits)
		return n, err == nil && n > 0 && n <= highestErrno
	}
	n, ok := errnoNumbers[name]
	return n, ok
}

// errnoNumbers are the numbers by name.
var errnoNumbers = func() map[string]int {
	numbers := map[string]int{}
	for n := 1; n < 256; n++ {
		if name := unix.ErrnoName(syscall.Errno(n)); name != "" {
			numbers[name] = n
		}
	}
	return numbers
}()
