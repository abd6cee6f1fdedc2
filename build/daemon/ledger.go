package daemon

import (
	"sync"
	"time"

	"hdjail/build/daemon/sitelog"
	"hdjail/policies"
)

// ledger counts what each user has in the store. The site's log is the truth: sums are made of it, and made again when a
// quota seems to be used up, because something may have been removed from the store.
type ledger struct {
	name   string
	exists func(sitelog.Entry) bool
	now    func() time.Time

	mu      sync.Mutex
	users   map[int]used
	counted time.Time
}

type used struct{ store, logs int64 }

// recountPause is the least time between two readings of the log.
const recountPause = 10 * time.Second

func (l *ledger) add(e sitelog.Entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.put(e)
}

func (l *ledger) put(e sitelog.Entry) {
	if e.Bytes == 0 && e.LogBytes == 0 {
		return
	}
	u := l.users[e.UID]
	u.store += e.Bytes
	u.logs += e.LogBytes
	l.users[e.UID] = u
}

func (l *ledger) recount() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.users = map[int]used{}
	l.counted = l.now()
	_, err := sitelog.Read(l.name, func(e sitelog.Entry) {
		if (e.Bytes > 0 || e.LogBytes > 0) && l.exists(e) {
			l.put(e)
		}
	})
	return err
}

// left is what a user may still have, in bytes; -1 is no quota.
func (l *ledger) left(uid int, quota policies.Quota) (store, logs int64, err error) {
	look := func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		store, logs = rest(int64(quota.Store), l.users[uid].store), rest(int64(quota.Logs), l.users[uid].logs)
	}
	look()
	if store != 0 && logs != 0 {
		return store, logs, nil
	}
	l.mu.Lock()
	due := l.now().Sub(l.counted) >= recountPause
	l.mu.Unlock()
	if due {
		if err := l.recount(); err != nil {
			return 0, 0, err
		}
		look()
	}
	return store, logs, nil
}

func rest(quota, used int64) int64 {
	if quota == 0 {
		return -1
	}
	return max(0, quota-used)
}
