package integration

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"hdjail/policies/audit"
	"hdjail/policies/audit/audittest"
)

// browser is a headless Chromium with one tab, and the requests that it has made since it started.
type browser struct {
	ctx      context.Context
	mu       sync.Mutex
	requests []string
}

func openBrowser(t *testing.T) *browser {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
		}
	}
	if path == "" && os.Getenv("HDJAIL_TEST_NO_SKIP") == "" {
		t.Skip("needs chromium")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.UserDataDir(t.TempDir()), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-dev-shm-usage", true)) // a container has little of it
	ctx, stop := chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(stop)
	ctx, end := chromedp.NewContext(ctx)
	t.Cleanup(end)
	b := &browser{ctx: ctx}
	err := chromedp.Listen(ctx, func(event any) {
		if request, ok := event.(*network.EventRequestWillBeSent); ok {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.requests = append(b.requests, request.Request.URL)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := chromedp.Call(ctx, network.Enable, network.EnableParams{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { chromedp.Cancel(ctx) }) // waits for the browser to end
	return b
}

// show makes the report of an audit with hdjail and opens it.
func (b *browser) show(t *testing.T, a *audit.Audit) {
	t.Helper()
	dir := t.TempDir()
	file, page := filepath.Join(dir, "a.jsonl.zst"), filepath.Join(dir, "a.html")
	if err := os.WriteFile(file, audittest.File(a), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(hdjail, "audit", file, "--html", page).CombinedOutput(); err != nil {
		t.Fatalf("hdjail audit: %v\n%s", err, out)
	}
	if err := chromedp.Do(b.ctx, chromedp.Navigate("file://"+page)); err != nil {
		t.Fatal(err)
	}
}

// js is what an expression is on the page, as text.
func (b *browser) js(t *testing.T, expression string) string {
	t.Helper()
	text, err := chromedp.Run(b.ctx, chromedp.Evaluate[string]("String("+expression+")"))
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	return text
}

// wants checks what expressions are, in order; an earlier one may change the page.
func (b *browser) wants(t *testing.T, pairs ...string) {
	t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if got := b.js(t, pairs[i]); got != pairs[i+1] {
			t.Errorf("%s is %q, want %q", pairs[i], got, pairs[i+1])
		}
	}
}

const (
	countText = `document.getElementById("count").textContent`
	// search types into the field and waits until the table has followed.
	search = `(() => { const s = document.getElementById("search"); s.value = %q; s.dispatchEvent(new Event("input", {bubbles: true})); })()`
)

// until waits for an expression to be true on the page.
func (b *browser) until(t *testing.T, expression string) {
	t.Helper()
	if _, err := chromedp.Run(b.ctx, chromedp.Poll[bool](expression, chromedp.WithPollingTimeout(20*time.Second))); err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
}

// TestReportPage drives the report in a browser, which takes a while to start, so there is one for all.
func TestReportPage(t *testing.T) {
	b := openBrowser(t)
	t.Run("use", b.testUse)
	t.Run("hostile", b.testHostile)
	t.Run("large", b.testLarge)
	t.Run("without script", b.testWithoutScript)
}

func (b *browser) testUse(t *testing.T) {
	b.show(t, audittest.Sample(3000))
	b.wants(t, `document.documentElement.dataset.ready`, "3000", countText, "3,000 of 3,000 accesses",
		`document.querySelectorAll("#table tbody tr.row").length`, "100", `document.querySelectorAll(".lane").length`, "6")

	t.Run("search", func(t *testing.T) {
		b.js(t, fmt.Sprintf(search, "LIBBZ2-dev usr"))
		b.until(t, countText+` === "6 of 3,000 accesses"`)
		b.wants(t, `[...document.querySelectorAll("#table tbody tr.row")].every((r) => r.textContent.includes("libbz2-dev"))`, "true",
			`(document.getElementById("reset").click(), 1)`, "1")
		b.until(t, countText+` === "3,000 of 3,000 accesses"`)
	})
	t.Run("verdict and order", func(t *testing.T) {
		b.wants(t, `(document.querySelector(".tile[data-verdict=denied]").click(), `+countText+`)`, "5 of 3,000 accesses",
			`(document.querySelector("th[data-column=count] button").click(), [...document.querySelectorAll("td[data-column=count]")].map((c) => Number(c.textContent)).every((n, i, all) => !i || all[i-1] <= n))`, "true",
			`document.querySelector("th[data-column=count]").getAttribute("aria-sort")`, "ascending")
	})
	t.Run("detail", func(t *testing.T) {
		b.wants(t, `(document.querySelector("#table .open").click(), document.querySelectorAll("tr.detail").length)`, "1",
			`document.querySelector("tr.detail").textContent.includes("read-only in the jail")`, "true",
			`document.activeElement.getAttribute("aria-expanded")`, "true")
	})
	t.Run("processes", func(t *testing.T) {
		b.wants(t, `document.querySelectorAll("#tree .node").length`, "3")
		b.js(t, `document.querySelector("#tree details details summary").click()`)
		b.until(t, `document.querySelectorAll("#tree .node").length > 3`)
		b.wants(t, `(document.querySelector("#tree details details details summary button").click(), document.getElementById("only").textContent.startsWith("only x86_64-linux-gnu-gcc-12 (pid "))`, "true")
	})
	t.Run("time", func(t *testing.T) {
		b.js(t, `document.getElementById("reset").click()`)
		b.until(t, countText+` === "3,000 of 3,000 accesses"`)
		b.js(t, `(() => { const s = document.querySelector(".lane.v-absent svg"), box = s.getBoundingClientRect(); s.setPointerCapture = () => {};
			for (const [kind, at] of [["pointerdown", 0.1], ["pointerup", 0.2]]) s.dispatchEvent(new PointerEvent(kind, {clientX: box.left + box.width * at})); })()`)
		b.wants(t, `Number(document.getElementById("from").value) > 1 && Number(document.getElementById("to").value) < 5`, "true",
			countText+` !== "3,000 of 3,000 accesses"`, "true")
	})
	b.loadsNothing(t)
}

// loadsNothing checks that nothing but the pages themselves was asked for, and that a page could not have asked.
func (b *browser) loadsNothing(t *testing.T) {
	t.Helper()
	b.onlyPages(t)
	var asked atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	defer server.Close()
	refused, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](fmt.Sprintf(`new Promise((done) => {
		const refused = [];
		document.addEventListener("securitypolicyviolation", (e) => { refused.push(e.effectiveDirective); if (refused.length === 2) done(refused.sort().join()); });
		fetch(%[1]q).catch(() => {});
		document.body.append(Object.assign(document.createElement("img"), {src: %[1]q}));
	})`, server.URL), chromedp.EvalAwaitPromise))
	if err != nil || refused != "connect-src,img-src" || asked.Load() != 0 {
		t.Errorf("refused %q, %v; %d requests came", refused, err, asked.Load())
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.requests = nil // these attempts
}

// onlyPages checks that the browser has asked for reports only.
func (b *browser) onlyPages(t *testing.T) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, url := range b.requests {
		if !strings.HasPrefix(url, "file:///") || !strings.HasSuffix(url, "/a.html") {
			t.Errorf("the page asked for %s", url)
		}
	}
	if len(b.requests) == 0 {
		t.Error("not even the page itself was seen, so requests are not watched")
	}
}

// testHostile: hostile text is shown as text: it is no markup, no script, and nothing that a browser obeys.
func (b *browser) testHostile(t *testing.T) {
	b.show(t, audittest.HostileAudit())
	b.wants(t, `document.documentElement.dataset.ready`, fmt.Sprint(len(audittest.Hostile())),
		`document.title`, "Audit of "+audittest.Hostile()[0],
		`document.querySelectorAll("script").length`, "2", `document.querySelectorAll("img, iframe, object, link, base").length`, "0",
		`/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202f\ufffd]/.test(document.body.innerText)`, "false")
	b.js(t, `document.querySelectorAll("details").forEach((d) => d.open = true)`)
	b.js(t, `document.querySelectorAll("#table .open").forEach((_, i) => document.querySelectorAll("#table .open")[i].click())`)
	b.js(t, fmt.Sprintf(search, "<img src=x"))
	b.until(t, countText+` === "1 of 23 accesses"`)
	b.wants(t, `document.querySelector("td[data-column=path]").innerText.includes("/h/<img src=x onerror=\"document.title='owned'\">")`, "true",
		`document.querySelectorAll("script").length`, "2", `document.querySelectorAll("img, iframe, object, link, base").length`, "0",
		`document.title`, "Audit of "+audittest.Hostile()[0])
	b.loadsNothing(t)
}

// testLarge: a page of 100,000 accesses is there, and answers, in less time than a person waits for.
func (b *browser) testLarge(t *testing.T) {
	b.show(t, audittest.Sample(100_000))
	b.wants(t, countText, "100,000 of 100,000 accesses", `performance.now() < 3000`, "true")
	t.Logf("the page was ready after %s ms", b.js(t, `Math.round(performance.getEntriesByType("navigation")[0].loadEventEnd)`))
	for _, action := range []string{fmt.Sprintf(search, "types t9"), `document.querySelector("th[data-column=path] button").click()`, `document.getElementById("last").click()`} {
		b.js(t, `(globalThis.began = performance.now(), globalThis.before = `+countText+`)`)
		b.js(t, action)
		b.until(t, countText+` !== "100,000 of 100,000 accesses"`)
		t.Logf("%s ms", b.js(t, `Math.round(performance.now() - began)`))
		b.wants(t, `performance.now() - began < 1500`, "true")
	}
}

// testWithoutScript: without JavaScript the page still says what matters.
func (b *browser) testWithoutScript(t *testing.T) {
	if _, err := chromedp.Call(b.ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true}); err != nil {
		t.Fatal(err)
	}
	b.show(t, audittest.Sample(3000))
	text := b.js(t, `document.body.innerText`)
	for _, want := range []string{"The record is complete.", "27\nhidden", "libbz2-dev 1.0.8-5+b1", "/usr/bin/pkgconf", "need JavaScript"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(text, "Search") {
		t.Error("the page offers a search that does nothing")
	}
}
