package metrics

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// filePause is the time between two writings of a file.
const filePause = 15 * time.Second

// Keep writes the set to the file at path now, now and then, and when ctx is done. The file is replaced in one step, so a
// reader sees all of it. Only the first writing can fail; complain gets later errors.
func (s *Set) Keep(ctx context.Context, path string, complain func(error)) (wait func(), err error) {
	if err := s.replace(path); err != nil {
		return nil, err
	}
	done := make(chan struct{})
	go func() { // wait waits for it
		defer close(done)
		tick := time.NewTicker(filePause)
		defer tick.Stop()
		for ended := false; !ended; {
			select {
			case <-tick.C:
			case <-ctx.Done():
				ended = true
			}
			if err := s.replace(path); err != nil {
				complain(err)
			}
		}
	}()
	return func() { <-done }, nil
}

func (s *Set) replace(path string) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-")
	if err != nil {
		return fmt.Errorf("write metrics: %w", err)
	}
	err = errors.Join(s.Write(f), f.Chmod(0o644), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write metrics: %w", errors.Join(err, os.Remove(f.Name())))
	}
	return nil
}

// Serve answers HTTP requests for /metrics on l until ctx is done. It closes l.
func (s *Set) Serve(ctx context.Context, l net.Listener) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		var text strings.Builder
		_ = s.Write(&text) // to memory
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		_, _ = w.Write([]byte(text.String())) // a reader that goes is no error of ours
	})
	server := &http.Server{Handler: mux, ReadTimeout: 5 * time.Second, WriteTimeout: 5 * time.Second, MaxHeaderBytes: 8 << 10}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve metrics: %w", err)
	}
	return nil
}
