package sources

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/zeebo/blake3"

	"hdjail/artifact/lease"
)

var content = bytes.Repeat([]byte("0123456789abcdef"), 5000)

func sha(data []byte) string {
	h := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(h[:])
}

func b3(data []byte) string {
	h := blake3.Sum256(data)
	return "blake3:" + hex.EncodeToString(h[:])
}

// site serves content under several manners.
type site struct {
	*httptest.Server
	asked atomic.Int32
	// cut is how many bytes /cut sends before it breaks off.
	cut int
	// etag changes what the site calls this version of its file.
	etag string
}

func newSite(t *testing.T) *site {
	s := &site{cut: 1000, etag: `"v1"`}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.asked.Add(1)
	switch r.URL.Path {
	case "/file", "/sha256/" + strings.TrimPrefix(sha(content), "sha256:"):
		w.Header().Set("ETag", s.etag)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
	case "/cut": // breaks off after a while, and continues when asked
		from := 0
		fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from)
		w.Header().Set("Content-Length", fmt.Sprint(len(content)-from))
		w.Header().Set("ETag", s.etag)
		if from > 0 {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(content)-1, len(content)))
			w.WriteHeader(http.StatusPartialContent)
		}
		if s.cut == 0 {
			s.cut = len(content)
		}
		w.Write(content[from:min(len(content), from+s.cut)])
	case "/wrong":
		w.Write([]byte("something else"))
	case "/loop":
		http.Redirect(w, r, "/loop", http.StatusFound)
	case "/moved":
		http.Redirect(w, r, "/file", http.StatusMovedPermanently)
	case "/range": // answers with a range that nobody asked for
		w.Header().Set("Content-Range", "bytes 5-9/10")
		w.WriteHeader(http.StatusPartialContent)
	case "/silent":
		w.Write([]byte("a"))
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	case "/huge":
		w.Header().Set("Content-Length", "1000000000000")
	case "/endless":
		for r.Context().Err() == nil {
			if _, err := w.Write(content); err != nil {
				return
			}
		}
	case "/busy":
		http.Error(w, "busy", http.StatusServiceUnavailable)
	default:
		http.NotFound(w, r)
	}
}

func fetch(s *Store, digest string, urls ...string) error {
	return s.Fetch(context.Background(), Request{digest, urls}, nil)
}

// clean fails when anything but directories is left besides what is stored.
func clean(t *testing.T, s *Store) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(s.dir, partial))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		t.Errorf("left behind: %s", e.Name())
	}
}

func TestFetch(t *testing.T) {
	web := newSite(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), content, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		urls []string
		want string // part of the error, "" for success
	}{
		{[]string{web.URL + "/file"}, ""},
		{[]string{web.URL + "/moved"}, ""},
		{[]string{web.URL + "/none", web.URL + "/wrong", web.URL + "/file"}, ""},
		{[]string{"file://" + dir + "/file"}, ""},
		{[]string{"file://localhost" + dir + "/fi%6ce"}, ""},
		{[]string{web.URL + "/none"}, "404 Not Found"},
		{[]string{web.URL + "/busy"}, "503"},
		{[]string{web.URL + "/loop"}, "more than 5 redirects"},
		{[]string{web.URL + "/range"}, "not asked for"},
		{[]string{web.URL + "/huge"}, "larger than"},
		{[]string{web.URL + "/endless"}, "larger than"},
		{[]string{web.URL + "/wrong"}, "digest is " + sha([]byte("something else"))},
		{[]string{web.URL + "/silent"}, "server silent for"},
		{[]string{"http://127.0.0.1:1/x"}, "refused"},
		{[]string{"file://elsewhere" + dir + "/file"}, "known form"},
		{[]string{"file:file"}, "known form"},
		{[]string{"file://" + dir}, "not a regular file"},
		{[]string{"ftp://a/b"}, "known form"},
		{[]string{"debsrc:../x"}, "debsrc:PACKAGE/FILE"},
		{[]string{"debsrc:hello/-o"}, "debsrc:PACKAGE/FILE"},
		{[]string{"http://[broken"}, "missing ']'"},
		{nil, "not in the store"},
	} {
		s := newStore(t, Options{MaxBytes: 1 << 20, Silence: 200 * time.Millisecond})
		err := fetch(s, sha(content), c.urls...)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%v: error %v, want %q", c.urls, err, c.want)
		}
		if s.Has(sha(content)) != (c.want == "") {
			t.Errorf("%v: stored %v", c.urls, s.Has(sha(content)))
		}
		if c.want == "" {
			info, err := os.Stat(filepath.Join(s.dir, strings.Replace(sha(content), ":", "/", 1)))
			if err != nil || info.Mode() != 0o444 || info.Size() != int64(len(content)) {
				t.Errorf("%v: stored as %v %v", c.urls, info, err)
			}
			clean(t, s)
		}
	}
}

func TestFetchErrors(t *testing.T) {
	web := newSite(t)
	s := newStore(t, Options{})
	password := strings.Replace(web.URL, "http://", "http://me:secret@", 1)
	err := fetch(s, b3(content), password+"/none", web.URL+"/wrong")
	var failed *FetchError
	var wrong *DigestError
	if !errors.As(err, &failed) || len(failed.Attempts) != 2 || strings.Count(err.Error(), "\n") != 2 {
		t.Fatalf("error %v", err)
	}
	if !errors.As(err, &wrong) || *wrong != (DigestError{b3(content), b3([]byte("something else")), web.URL + "/wrong"}) {
		t.Errorf("error %+v", wrong)
	}
	if strings.Contains(err.Error(), "secret") {
		t.Errorf("a password is shown: %v", err)
	}
	clean(t, s)
	for _, digest := range []string{"", "sha256:", "md5:" + strings.Repeat("0", 32), strings.ToUpper(sha(content)), "sha256:../../../../../../../../etc/passwd" + strings.Repeat("0", 30), "git:0123"} {
		var bad *BadDigestError
		if err := fetch(s, digest, web.URL+"/file"); !errors.As(err, &bad) {
			t.Errorf("%q: %v", digest, err)
		}
	}
}

func TestResume(t *testing.T) {
	web := newSite(t)
	s := newStore(t, Options{})
	// A site that breaks off is asked again as long as it brings something, eight times at most.
	if err := fetch(s, sha(content), web.URL+"/cut"); err == nil || web.asked.Load() != 8 {
		t.Fatalf("error %v after %d requests", err, web.asked.Load())
	}
	name := filepath.Join(s.dir, partial, strings.Replace(sha(content), ":", "-", 1))
	if data, err := os.ReadFile(name); err != nil || !bytes.Equal(data, content[:8*1000]) {
		t.Fatalf("kept %d bytes, %v", len(data), err)
	}
	web.cut = 0
	var first, total int64
	err := s.Fetch(context.Background(), Request{sha(content), []string{web.URL + "/cut"}}, func(done, of int64) {
		if first == 0 {
			first = done
		}
		total = of
	})
	if err != nil || first <= 8000 || total != int64(len(content)) {
		t.Errorf("error %v; began at %d of %d", err, first, total)
	}
	clean(t, s)
}

// TestResumeWrong begins with bytes that are not the file's: whatever the server does, the file is right in the end.
func TestResumeWrong(t *testing.T) {
	web := newSite(t)
	for name, c := range map[string]struct{ start, from string }{
		"other bytes":            {"rubbish", ""},
		"another version":        {"rubbish", web.URL + "/file\n\"v0\""},
		"the same version":       {"rubbish", web.URL + "/file\n\"v1\""},
		"longer than the file":   {strings.Repeat("x", 1<<20), ""},
		"all of it":              {string(content), ""},
		"a part from elsewhere":  {string(content[:70000]), "http://elsewhere\n\"v7\""},
		"all and more":           {string(content) + "x", web.URL + "/file\n\"v1\""},
		"a broken note about it": {string(content[:1]), "\n\n\n"},
	} {
		s := newStore(t, Options{})
		path := filepath.Join(s.dir, partial, strings.Replace(sha(content), ":", "-", 1))
		if err := errors.Join(os.WriteFile(path, []byte(c.start), 0o600), os.WriteFile(path+".from", []byte(c.from), 0o600)); err != nil {
			t.Fatal(err)
		}
		if err := fetch(s, sha(content), web.URL+"/file"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		clean(t, s)
	}
}

func TestMirrors(t *testing.T) {
	web, last := newSite(t), newSite(t)
	mirror, byName := t.TempDir(), t.TempDir()
	hashed := filepath.Join(mirror, strings.Replace(b3(content), ":", "/", 1))
	if err := errors.Join(os.Mkdir(filepath.Dir(hashed), 0o755), os.WriteFile(hashed, content, 0o644),
		os.WriteFile(filepath.Join(byName, "x-1.tar"), content, 0o644)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		mirrors, lastMirrors []string
		digest, url          string
		asked                int32 // requests to the URL's site
		ok                   bool
	}{
		{[]string{mirror}, nil, b3(content), "/none", 0, true},
		{[]string{"/nowhere", byName + "/"}, nil, sha(content), "/dir/x-1.tar?a=b", 0, true},
		{[]string{mirror}, nil, sha(content), "/file", 1, true},
		{nil, []string{byName}, sha(content), "/x-1.tar", 1, true},
		{nil, []string{last.URL}, sha(content), "/none", 1, true},
		{[]string{last.URL}, nil, sha(content), "/none", 0, true},
		{[]string{mirror, byName}, []string{last.URL}, b3([]byte("no")), "/none", 1, false},
	} {
		web.asked.Store(0)
		s := newStore(t, Options{Mirrors: c.mirrors, LastMirrors: c.lastMirrors})
		if err := fetch(s, c.digest, web.URL+c.url); (err == nil) != c.ok || web.asked.Load() != c.asked {
			t.Errorf("%+v: %v, %d requests", c, err, web.asked.Load())
		}
	}
}

func TestOffline(t *testing.T) {
	web := newSite(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), content, 0o644); err != nil {
		t.Fatal(err)
	}
	s := newStore(t, Options{Offline: true, Mirrors: []string{dir, web.URL}})
	var missing *MissingError
	urls := []string{web.URL + "/none", "debsrc:hello/hello.tar.gz"}
	if err := fetch(s, sha(content), urls...); !errors.As(err, &missing) || !missing.Offline || len(missing.URLs) != 4 {
		t.Errorf("error %v", err)
	}
	if err := fetch(s, "git:"+strings.Repeat("0", 40), "https://example.org/x"); !errors.As(err, &missing) {
		t.Errorf("error %v", err)
	}
	if err := fetch(s, sha(content), web.URL+"/file"); err != nil {
		t.Error(err)
	}
	if n := web.asked.Load(); n != 0 {
		t.Errorf("%d requests", n)
	}
}

func TestHTTPS(t *testing.T) {
	plain := newSite(t)
	secure := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/down" {
			http.Redirect(w, r, plain.URL+"/file", http.StatusFound)
		} else {
			w.Write(content)
		}
	}))
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	t.Cleanup(secure.Close)
	pool := x509.NewCertPool()
	pool.AddCert(secure.Certificate())
	for _, c := range []struct {
		roots *x509.CertPool
		path  string
		want  string
	}{{pool, "/file", ""}, {nil, "/file", "certificate"}, {pool, "/down", "weaker scheme"}} {
		s := newStore(t, Options{Roots: c.roots})
		err := fetch(s, sha(content), secure.URL+c.path)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.path, err, c.want)
		}
	}
}

// TestRedirectInside has a server outside, as far as we know, that leads to one inside.
func TestRedirectInside(t *testing.T) {
	ctx := guard(context.Background())
	h := ctx.Value(hopKey{}).(*hop)
	for _, c := range []struct {
		hop     hop
		address string
		ok      bool
	}{
		{hop{}, "127.0.0.1:80", true}, {hop{redirected: true, inside: true}, "10.0.0.1:80", true},
		{hop{redirected: true}, "93.184.216.34:443", true}, {hop{redirected: true}, "127.0.0.1:80", false},
		{hop{redirected: true}, "10.1.2.3:80", false}, {hop{redirected: true}, "169.254.169.254:80", false},
		{hop{redirected: true}, "[::1]:80", false}, {hop{redirected: true}, "[::ffff:192.168.0.1]:80", false},
		{hop{redirected: true}, "[fe80::1%eth0]:80", false}, {hop{redirected: true}, "0.0.0.0:80", false},
		{hop{redirected: true}, "/run/socket", false},
	} {
		*h = c.hop
		if err := controlHop(ctx, "tcp", c.address, nil); (err == nil) != c.ok {
			t.Errorf("%+v to %s: %v", c.hop, c.address, err)
		}
	}
	web := newSite(t)
	*h = hop{redirected: true}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, web.URL+"/file", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := newStore(t, Options{}).client().Do(request); err == nil || web.asked.Load() != 0 {
		t.Errorf("connected: %v", err)
	}
}

func TestCancelled(t *testing.T) {
	web := newSite(t)
	s := newStore(t, Options{})
	ctx, cancel := context.WithCancelCause(context.Background())
	why := errors.New("enough")
	err := s.Fetch(ctx, Request{sha(content), []string{web.URL + "/silent", web.URL + "/file"}}, func(int64, int64) { cancel(why) })
	if !errors.Is(err, why) || s.Has(sha(content)) {
		t.Errorf("error %v", err)
	}
}

// TestLock has many that want one file at a time: one asks the site.
func TestLock(t *testing.T) {
	web := newSite(t)
	root := t.TempDir()
	errs := make(chan error)
	for range 8 {
		s := newStore(t, Options{Root: root})
		go func() { errs <- fetch(s, sha(content), web.URL+"/file") }()
	}
	for range 8 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if n := web.asked.Load(); n != 1 {
		t.Errorf("%d requests", n)
	}
	s := newStore(t, Options{Root: root, LockWait: time.Millisecond})
	clean(t, s)
	unlock, err := s.lock(context.Background(), "x")
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	var busy *lease.LockedError
	if _, err := s.lock(context.Background(), "x"); !errors.As(err, &busy) || busy.Info.Holder.PID != os.Getpid() {
		t.Errorf("error %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := newStore(t, Options{Root: root}).lock(ctx, "x"); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestOpen(t *testing.T) {
	for _, root := range []string{"relative", "", "/nowhere/at/all"} {
		if _, err := Open(Options{Root: root, Tree: treeDigestOf}); err == nil {
			t.Errorf("%q was opened", root)
		}
	}
	s := newStore(t, Options{})
	var missing *MissingError
	if _, err := s.OpenFile(sha(content)); !errors.As(err, &missing) {
		t.Errorf("error %v", err)
	}
	if _, err := os.Stat(filepath.Join(s.dir, "sha256")); errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}
