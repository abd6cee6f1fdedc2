package plan

import "sync"

// memo remembers what a function gave for a key; of several callers at once one does the work. The zero memo is empty.
type memo[V any] struct{ entries sync.Map }

func (m *memo[V]) get(key string, compute func(string) (V, error)) (V, error) {
	once, known := m.entries.Load(key)
	if !known {
		once, _ = m.entries.LoadOrStore(key, sync.OnceValues(func() (V, error) { return compute(key) }))
	}
	return once.(func() (V, error))()
}
