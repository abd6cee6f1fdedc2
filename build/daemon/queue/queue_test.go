package queue

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A user who asks for much does not keep one waiting who asks for little, and everybody's own order is kept.
func TestFair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := New(1)
		first, err := q.Acquire(t.Context(), 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		var order []int
		var all sync.WaitGroup
		for _, uid := range []int{1, 1, 1, 1, 2, 3, 2} {
			all.Go(func() {
				release, err := q.Acquire(t.Context(), uid, 0)
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				order = append(order, uid)
				mu.Unlock()
				release()
				release() // is nothing
			})
			synctest.Wait()
		}
		if running, waiting := q.Counts(); running != 1 || waiting != 7 {
			t.Errorf("%d run and %d wait", running, waiting)
		}
		first()
		all.Wait()
		if len(order) != 7 || slices.Index(order, 2) > 2 || slices.Index(order, 3) > 2 {
			t.Errorf("order %v", order)
		}
		if len(q.users) != 0 || q.free != 1 {
			t.Errorf("left: %v, %d free", q.users, q.free)
		}
	})
}

func TestLimitAndCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := New(3)
		first, err := q.Acquire(t.Context(), 1, 1)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		gone := errors.New("gone")
		done := make(chan error)
		go func() {
			_, err := q.Acquire(ctx, 1, 1)
			done <- err
		}()
		synctest.Wait()
		other, err := q.Acquire(t.Context(), 2, 1) // has places, whatever the limit of another
		if err != nil {
			t.Fatal(err)
		}
		cancel(gone)
		if err := <-done; !errors.Is(err, gone) {
			t.Errorf("error %v", err)
		}
		first()
		other()
		if running, waiting := q.Counts(); running != 0 || waiting != 0 || q.free != 3 || len(q.users) != 0 {
			t.Errorf("%d run, %d wait, %d free, %d users", running, waiting, q.free, len(q.users))
		}
	})
}
