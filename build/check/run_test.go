package check

import (
	"os"
	"testing"
)

// TestBecomeSparesTheHost: this process has the UTS namespace of the one that started it.
func TestBecomeSparesTheHost(t *testing.T) {
	before, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	if err := (Caller{Umask: 0o777, Hostname: "caller-check-1"}).Become(); err == nil {
		t.Error("no error")
	}
	if after, err := os.Hostname(); err != nil || after != before {
		t.Errorf("the host is %q now, %v", after, err)
	}
}
