package sources

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"time"
)

const (
	maxRedirects = 5
	maxTries     = 8
)

// statusError is an answer of a server other than success.
type statusError struct {
	code int
	text string
}

func (e *statusError) Error() string { return "server says " + e.text }

// download gets a file by HTTP into in. A transfer that breaks is continued as long as each try brings something.
func (s *Store) download(ctx context.Context, in *intake, u *url.URL, progress Progress) error {
	client := s.client()
	for try := 1; ; try++ {
		before := in.n
		err := s.get(ctx, client, in, u, progress)
		if err == nil {
			err = in.commit(u.Redacted())
		}
		var wrong *DigestError
		var status *statusError
		switch {
		case err == nil || ctx.Err() != nil || try == maxTries:
			return err
		case errors.As(err, &wrong):
			if before == 0 {
				return err
			}
			// Perhaps only the part that was there before is wrong: once more from the start.
		case errors.As(err, &status) && status.code < 500 && status.code != http.StatusTooManyRequests:
			if status.code != http.StatusRequestedRangeNotSatisfiable || before == 0 {
				return err
			}
			if err := in.reset(); err != nil {
				return err
			}
		case try > 1 && in.n <= before:
			return err
		}
	}
}

// get asks once, for what in lacks.
func (s *Store) get(ctx context.Context, client *http.Client, in *intake, u *url.URL, progress Progress) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silent := fmt.Errorf("server silent for %v", s.o.Silence)
	timer := time.AfterFunc(s.o.Silence, func() { cancel(silent) })
	defer timer.Stop()
	request, err := http.NewRequestWithContext(guard(ctx), http.MethodGet, u.String(), nil)
	if err != nil {
		return err
	}
	request.Header.Set("User-Agent", "hdjail")
	if in.n > 0 {
		request.Header.Set("Range", fmt.Sprintf("bytes=%d-", in.n))
		if v := in.validator(u); v != "" {
			request.Header.Set("If-Range", v)
		}
	}
	response, err := client.Do(request)
	if err != nil {
		if context.Cause(ctx) == silent {
			return silent
		}
		return err
	}
	defer response.Body.Close()
	if err := in.accept(u, response); err != nil {
		return err
	}
	total := int64(-1)
	if response.ContentLength >= 0 {
		total = in.n + response.ContentLength
	}
	if total > s.o.MaxBytes {
		return fmt.Errorf("file of %d bytes is larger than %d bytes", total, s.o.MaxBytes)
	}
	_, err = io.Copy(in, &reader{ctx: ctx, r: response.Body, report: func(n int) {
		timer.Reset(s.o.Silence)
		progress(in.n+int64(n), total)
	}})
	if err != nil && context.Cause(ctx) == silent {
		return silent
	}
	return err
}

// accept makes in ready for the body of an answer.
func (in *intake) accept(u *url.URL, r *http.Response) error {
	switch r.StatusCode {
	case http.StatusPartialContent:
		if in.n > 0 && strings.HasPrefix(r.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", in.n)) {
			return nil
		}
		return errors.Join(errors.New("server sends a range that was not asked for"), in.reset())
	case http.StatusOK:
		if err := in.reset(); err != nil {
			return err
		}
		validator := r.Header.Get("ETag")
		if validator == "" || strings.HasPrefix(validator, "W/") {
			validator = r.Header.Get("Last-Modified")
		}
		return in.s.root.WriteFile(in.validatorName(), []byte(u.String()+"\n"+validator), 0o600)
	}
	return &statusError{r.StatusCode, r.Status}
}

// validator is what u called the version of the file that was begun, "" when another place sent it.
func (in *intake) validator(u *url.URL) string {
	data, err := in.s.root.ReadFile(in.validatorName())
	if err != nil {
		return ""
	}
	from, validator, _ := strings.Cut(string(data), "\n")
	if from != u.String() {
		return ""
	}
	return validator
}

// client keeps no connection, so that every one is looked at by hop.control.
func (s *Store) client() *http.Client {
	dialer := net.Dialer{Timeout: s.o.Silence, ControlContext: controlHop}
	return &http.Client{
		Transport: &http.Transport{
			Proxy: s.o.Proxy, DialContext: dialer.DialContext, DisableKeepAlives: true, DisableCompression: true,
			TLSClientConfig: &tls.Config{RootCAs: s.o.Roots, MinVersion: tls.VersionTLS12}, TLSHandshakeTimeout: s.o.Silence,
			MaxResponseHeaderBytes: 1 << 20,
		},
		CheckRedirect: checkRedirect,
	}
}

func checkRedirect(to *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return fmt.Errorf("more than %d redirects", maxRedirects)
	}
	if scheme := to.URL.Scheme; scheme != "https" && (scheme != "http" || via[len(via)-1].URL.Scheme == "https") {
		return fmt.Errorf("redirect to the weaker scheme %q", scheme)
	}
	if h, ok := to.Context().Value(hopKey{}).(*hop); ok {
		h.redirected = true
	}
	return nil
}

// hop follows one request through its redirects: a server outside must not lead us to one inside.
type hop struct {
	redirected bool
	inside     bool // the first connection went to a local address
}

type hopKey struct{}

func guard(ctx context.Context) context.Context {
	h := &hop{}
	return httptrace.WithClientTrace(context.WithValue(ctx, hopKey{}, h), &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) {
			if !h.redirected {
				h.inside = local(info.Conn.RemoteAddr().String())
			}
		},
	})
}

// controlHop is called before each connection, with the address that the name led to.
func controlHop(ctx context.Context, _, address string, _ syscall.RawConn) error {
	if h, ok := ctx.Value(hopKey{}).(*hop); ok && h.redirected && !h.inside && local(address) {
		return fmt.Errorf("redirect to the local address %s", address)
	}
	return nil
}

// local reports whether an address is this machine's or of a private network; what is no address is taken for one.
func local(address string) bool {
	a, err := netip.ParseAddrPort(address)
	if err != nil {
		return true
	}
	ip := a.Addr().Unmap()
	return !ip.IsGlobalUnicast() || ip.IsPrivate()
}
