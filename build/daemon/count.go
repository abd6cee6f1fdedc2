package daemon

import (
	"os"
	"strconv"
	"strings"

	"hdjail/build/daemon/metrics"
)

// counters are what a Server counts; nil ones count nothing.
type counters struct {
	requests, builds, seconds, lost *metrics.Counter
}

func label(name, value string) string { return metrics.Labels(name, value) }

func newCounters(set *metrics.Set, s *Server) counters {
	set.Gauge("hdjail_builds_running", "Places of builds that are taken.", func() float64 { n, _ := s.queue.Counts(); return float64(n) })
	set.Gauge("hdjail_builds_waiting", "Builds that wait for a place.", func() float64 { _, n := s.queue.Counts(); return float64(n) })
	set.Gauge("hdjail_places", "Builds that may run at once.", func() float64 { return float64(s.c.Places) })
	set.Gauge("hdjail_jobs", "Jobs that wait or run.", func() float64 {
		s.jobs.mu.Lock()
		defer s.jobs.mu.Unlock()
		return float64(len(s.jobs.list) - s.jobs.ended)
	})
	set.Gauge("hdjail_connections", "Clients that are connected.", func() float64 {
		s.mu.Lock()
		defer s.mu.Unlock()
		return float64(s.all)
	})
	set.Gauge("process_resident_memory_bytes", "Memory of the daemon.", residentMemory)
	started := float64(s.c.Builder.Now().UnixMilli()) / 1000
	set.Gauge("process_start_time_seconds", "When the daemon started.", func() float64 { return started })
	return counters{
		requests: set.Counter("hdjail_requests_total", "Requests, by kind and decision."),
		builds:   set.Counter("hdjail_builds_total", "Builds that ended, by status."),
		seconds:  set.Counter("hdjail_build_seconds_total", "Time that builds took together."),
		lost:     set.Counter("hdjail_site_log_errors_total", "Entries that could not be written to the log of the site."),
	}
}

// residentMemory reads proc_pid_statm(5).
func residentMemory() float64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(text))
	if len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.Atoi(fields[1]) // a number, or 0
	return float64(pages * os.Getpagesize())
}
