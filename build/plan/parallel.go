package plan

import (
	"runtime"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
)

// parallel calls work(0) … work(n-1), on all processors, and returns the error of the lowest number that has one: the
// same one whatever the timing.
func parallel(n int, work func(i int) error) error {
	errs := make([]error, n)
	var next atomic.Int64
	var group errgroup.Group
	run := func() error {
		for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
			errs[i] = work(i)
		}
		return nil
	}
	for range min(n, runtime.GOMAXPROCS(0)) - 1 {
		group.Go(run)
	}
	run()
	group.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
