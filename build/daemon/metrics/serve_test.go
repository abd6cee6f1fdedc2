package metrics

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A file is there at once, and has the last figures when the counting ends.
func TestKeep(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "metrics")
	synctest.Test(t, func(t *testing.T) {
		var s Set
		c := s.Counter("x", "X.")
		ctx, cancel := context.WithCancel(t.Context())
		wait, err := s.Keep(ctx, name, func(err error) { t.Error(err) })
		if err != nil {
			t.Fatal(err)
		}
		if text, err := os.ReadFile(name); err != nil || string(text) != "# HELP x X.\n# TYPE x counter\n" {
			t.Errorf("file %q, %v", text, err)
		}
		c.Add(3, "")
		cancel()
		wait()
	})
	if text, err := os.ReadFile(name); err != nil || string(text) != "# HELP x X.\n# TYPE x counter\nx 3\n" {
		t.Errorf("file %q, %v", text, err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("left %v, %v", left, err)
	}
	if _, err := new(Set).Keep(t.Context(), dir+"/no/metrics", nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("in no directory: %v", err)
	}
}

func TestServe(t *testing.T) {
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	var s Set
	s.Gauge("x", "X.", func() float64 { return 1 })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.Serve(ctx, l) }()
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", l.Addr().String())
	}}
	for path, status := range map[string]int{"/metrics": 200, "/": 404} {
		r, err := (&http.Client{Transport: transport}).Get("http://x" + path)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r.Body)
		r.Body.Close()
		if r.StatusCode != status || err != nil || status == 200 && string(text) != "# HELP x X.\n# TYPE x gauge\nx 1\n" {
			t.Errorf("%s: %d, %q, %v", path, r.StatusCode, text, err)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
