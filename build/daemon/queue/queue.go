// Package queue shares the places for running builds among users: whoever has the fewest running builds is next, and of
// those who waited longest since they were. Who may wait at all, and why, is decided elsewhere.
package queue

import (
	"context"
	"sync"
)

// Queue hands out places. Make one with New; it is safe for concurrent use.
type Queue struct {
	mu      sync.Mutex
	free    int
	waiting int
	turn    uint64
	users   map[int]*user
}

// user is who waits or runs; nobody else is in Queue.users.
type user struct {
	waiters []*waiter // first come, first served
	running int
	// served is the turn in which the user last got a place.
	served uint64
}

type waiter struct {
	limit   int
	granted chan struct{}
}

// New returns a queue with a number of places.
func New(places int) *Queue { return &Queue{free: places, users: map[int]*user{}} }

// Acquire waits for a place for a build of the user, who may have limit of them at once, 0 for any number. The place is held
// until release is called, once or more often. A ctx that is done ends the wait with its cause.
func (q *Queue) Acquire(ctx context.Context, uid, limit int) (release func(), err error) {
	w := &waiter{limit: limit, granted: make(chan struct{})}
	q.mu.Lock()
	u := q.users[uid]
	if u == nil {
		u = &user{}
		q.users[uid] = u
	}
	u.waiters = append(u.waiters, w)
	q.waiting++
	q.grant()
	q.mu.Unlock()
	select {
	case <-w.granted:
		return sync.OnceFunc(func() { q.release(uid) }), nil
	case <-ctx.Done():
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	select {
	case <-w.granted: // at the same moment
		q.put(uid)
	default:
		q.forget(uid, w)
	}
	return nil, context.Cause(ctx)
}

// grant gives free places to who is next, until nobody can have one. q.mu is held, as in all that follows.
func (q *Queue) grant() {
	for q.free > 0 {
		u := q.next()
		if u == nil {
			return
		}
		w := u.waiters[0]
		u.waiters = u.waiters[1:]
		q.turn++
		u.running, u.served = u.running+1, q.turn
		q.free--
		q.waiting--
		close(w.granted)
	}
}

func (q *Queue) next() (best *user) {
	for _, u := range q.users {
		if len(u.waiters) == 0 || u.waiters[0].limit > 0 && u.running >= u.waiters[0].limit {
			continue
		}
		if best == nil || u.running < best.running || u.running == best.running && u.served < best.served {
			best = u
		}
	}
	return best
}

func (q *Queue) release(uid int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.put(uid)
}

// put takes a place back.
func (q *Queue) put(uid int) {
	q.free++
	q.users[uid].running--
	q.grant()
	q.tidy(uid)
}

func (q *Queue) forget(uid int, w *waiter) {
	u := q.users[uid]
	for i := range u.waiters {
		if u.waiters[i] == w {
			u.waiters = append(u.waiters[:i], u.waiters[i+1:]...)
			q.waiting--
			break
		}
	}
	q.grant() // a lower limit may have stood in the way of who came later
	q.tidy(uid)
}

func (q *Queue) tidy(uid int) {
	if u := q.users[uid]; u.running == 0 && len(u.waiters) == 0 {
		delete(q.users, uid)
	}
}

// Counts are how many builds run and wait.
func (q *Queue) Counts() (running, waiting int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, u := range q.users {
		running += u.running
	}
	return running, q.waiting
}
