// Package metrics counts, and writes what it has counted in the text form that Prometheus reads. It is this small because
// every jail starts this program anew, and pays for what its packages set up.
package metrics

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"sync"
)

// Set is a set of metrics. Its zero value is empty; it is safe for concurrent use.
type Set struct {
	mu       sync.Mutex
	families map[string]*family
}

type family struct {
	kind, help string
	values     map[string]float64        // by labels
	read       func() map[string]float64 // instead of values
}

func (s *Set) add(name string, f *family) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.families == nil {
		s.families = map[string]*family{}
	}
	s.families[name] = f
}

// Counter makes a metric that only grows, with a value for each set of labels; Labels makes one.
func (s *Set) Counter(name, help string) *Counter {
	f := &family{kind: "counter", help: help, values: map[string]float64{}}
	s.add(name, f)
	return &Counter{s, f}
}

// Gauge makes a metric that is asked for when somebody reads the set.
func (s *Set) Gauge(name, help string, read func() float64) {
	s.add(name, &family{kind: "gauge", help: help, read: func() map[string]float64 { return map[string]float64{"": read()} }})
}

// Counter is a metric of a Set.
type Counter struct {
	s *Set
	f *family
}

// Add counts n more, with labels that Labels made, or with none. A nil Counter counts nothing.
func (c *Counter) Add(n float64, labels string) {
	if c == nil {
		return
	}
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.f.values[labels] += n
}

// Labels writes pairs of a name and a value. Callers keep the number of different values small.
func Labels(pairs ...string) string {
	text := ""
	for i := 0; i+1 < len(pairs); i += 2 {
		if text != "" {
			text += ","
		}
		text += pairs[i] + "=" + strconv.Quote(pairs[i+1])
	}
	return "{" + text + "}"
}

// Write writes all metrics, sorted.
func (s *Set) Write(to io.Writer) error {
	s.mu.Lock()
	families := maps.Clone(s.families)
	s.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(families)) {
		f := families[name]
		if _, err := fmt.Fprintf(to, "# HELP %s %s\n# TYPE %s %s\n", name, f.help, name, f.kind); err != nil {
			return err
		}
		values := s.values(f)
		for _, labels := range slices.SortedFunc(maps.Keys(values), cmp.Compare[string]) {
			if _, err := fmt.Fprintf(to, "%s%s %s\n", name, labels, strconv.FormatFloat(values[labels], 'g', -1, 64)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Set) values(f *family) map[string]float64 {
	if f.read != nil {
		return f.read()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(f.values)
}
