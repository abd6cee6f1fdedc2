package daemon

import (
	"sync"
	"time"
)

// noisy keeps a user from filling the site's log with refusals: within an hour so many of them are written, and a last one
// that says so. All are counted in the metrics.
type noisy struct {
	mu    sync.Mutex
	since time.Time
	users map[int]int
}

// refusalsAnHour are written for one user.
const refusalsAnHour = 1000

// reason is what is written of a refusal, empty for nothing.
func (n *noisy) reason(uid int, now time.Time, reason string) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.users == nil || now.Sub(n.since) >= time.Hour {
		n.users, n.since = map[int]int{}, now
	}
	switch n.users[uid]++; {
	case n.users[uid] < refusalsAnHour:
		return reason
	case n.users[uid] == refusalsAnHour:
		return reason + "; further refusals of this user are only counted, for up to an hour"
	}
	return ""
}
