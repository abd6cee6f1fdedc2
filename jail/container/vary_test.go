package container

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"hdjail/jail"
)

// vary runs a script in a jail that says what can be varied: its host name, process number and processors.
func vary(t *testing.T, r *Runner, v jail.Vary) (host string, pid, cpus int) {
	t.Helper()
	c := hostConfig(t, r, `read host </proc/sys/kernel/hostname; echo "$host $$"; nproc`)
	var out strings.Builder
	c.Stdout, c.Stderr, c.Vary = &out, &out, v
	result, err := r.Run(context.Background(), c)
	if err != nil || result.Exit != 0 {
		t.Fatalf("result %+v, error %v, output:\n%s", result, err, out.String())
	}
	if _, err := fmt.Sscan(out.String(), &host, &pid, &cpus); err != nil {
		t.Fatalf("%v in %q", err, out.String())
	}
	return host, pid, cpus
}

func TestVary(t *testing.T) {
	r := newRunner(t)
	var own unix.CPUSet
	if err := unix.SchedGetaffinity(0, &own); err != nil {
		t.Fatal(err)
	}
	first := 0
	for !own.IsSet(first) {
		first++
	}
	host, pid, cpus := vary(t, r, jail.Vary{})
	if host != "localhost" || cpus != own.Count() {
		t.Errorf("unvaried: host name %q, %d processors; want localhost, %d", host, cpus, own.Count())
	}
	host, varied, cpus := vary(t, r, jail.Vary{Hostname: "check-1", CPUs: []int{first}, SkipPIDs: 1000})
	if host != "check-1" || cpus != 1 || varied <= 1000 || pid > 1000 {
		t.Errorf("varied: host name %q, %d processors, process %d; want check-1, 1, one above 1000", host, cpus, varied)
	}
}

func TestCPUMask(t *testing.T) {
	var want []byte
	for _, word := range []uint64{1<<0 | 1<<5, 1 << 0, 1 << 2} {
		want = binary.NativeEndian.AppendUint64(want, word)
	}
	if got := cpuMask([]int{0, 5, 64, 130}); !bytes.Equal(got, want) {
		t.Errorf("mask %v, want %v", got, want)
	}
}
