// Package audittest makes audits for tests: of any size, like one of a real configure and make, and hostile ones. What it
// makes depends on nothing but its arguments.
package audittest

import (
	"bytes"
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"syscall"
	"time"

	"hdjail/policies"
	"hdjail/policies/audit"
)

// Sample is an audit of n accesses, 10 at least, of a program that was configured and compiled in mode hide. Of any size it
// has at least one access of every verdict.
func Sample(n int) *audit.Audit {
	s := &sampler{random: rand.New(rand.NewPCG(1, uint64(n))), seen: map[accessKey]bool{}, audit: &audit.Audit{Header: header()}}
	s.processes(max(4, n/60))
	for i, step := 0, 0; i < n; step++ {
		a := s.access(i, step, n)
		key := accessKey{a.Op, a.Path, a.Errno}
		if !s.seen[key] {
			s.seen[key] = true
			s.audit.Accesses = append(s.audit.Accesses, a)
			i++
		}
	}
	slices.SortFunc(s.audit.Accesses, func(x, y audit.Access) int {
		return cmp.Or(cmp.Compare(x.Op, y.Op), cmp.Compare(x.Path, y.Path), cmp.Compare(x.Errno, y.Errno))
	})
	Count(s.audit)
	return s.audit
}

// Count sets the counters of a header from its accesses.
func Count(a *audit.Audit) {
	c := &a.Header.Counters
	c.Events, c.Unique, c.Verdicts = 0, int64(len(a.Accesses)), map[policies.Verdict]int64{}
	for _, access := range a.Accesses {
		c.Events += access.Count
		c.Verdicts[access.Verdict]++
	}
}

// File is the audit in the form of the file: lines, compressed.
func File(a *audit.Audit) []byte {
	var b bytes.Buffer
	if err := audit.Write(&b, a.Header, a.Processes, a.All, audit.Rest{Events: a.Events, Output: a.Output}); err != nil {
		panic(err) // memory takes all
	}
	return b.Bytes()
}

const duration = 18400 * time.Millisecond

var (
	inside = []audit.Owner{{Package: "gcc-12", Version: "12.2.0-14+deb12u1", Architecture: "amd64"},
		{Package: "libc6-dev", Version: "2.36-9+deb12u10", Architecture: "amd64"}, {Package: "make", Version: "4.3-4.1", Architecture: "amd64"},
		{Package: "coreutils", Version: "9.1-1", Architecture: "amd64"}, {Package: "dash", Version: "0.5.12-2", Architecture: "amd64"}}
	outside = []struct {
		owner audit.Owner
		files []string
	}{
		{audit.Owner{Package: "libbz2-dev", Version: "1.0.8-5+b1"}, []string{"/usr/include/bzlib.h", "/usr/lib/x86_64-linux-gnu/libbz2.a"}},
		{audit.Owner{Package: "liblzma-dev", Version: "5.4.1-1"}, []string{"/usr/include/lzma.h", "/usr/include/lzma/version.h", "/usr/lib/x86_64-linux-gnu/liblzma.so"}},
		{audit.Owner{Package: "zlib1g-dev", Version: "1:1.2.13.dfsg-1"}, []string{"/usr/include/zlib.h", "/usr/include/zconf.h"}},
		{audit.Owner{Package: "python3.11-minimal", Version: "3.11.2-6+deb12u6"}, []string{"/usr/bin/python3.11"}},
		{audit.Owner{Package: "pkgconf-bin", Version: "1.8.1-1"}, []string{"/usr/bin/pkgconf"}},
		{audit.Owner{Package: "libcurl4-openssl-dev", Version: "7.88.1-10+deb12u12"}, []string{"/usr/include/x86_64-linux-gnu/curl/curl.h"}},
		{audit.Owner{}, []string{"/usr/local/bin/cmake", "/opt/site/lib/libfast.so"}},
	}
)

func header() audit.Header {
	return audit.Header{Format: audit.Format, Name: "samtools-1.21", Derivation: "mf2xgezdgnbvgy3tqojqgezdgnbvgy3t",
		Realization: "qojqgezdgnbvgy3tqojqgezdgnbvgy3t", Mode: "hide", PolicyDigest: "blake3:360c176b100b4a2048b51e9774c02e80",
		System: "x86_64-linux", Kernel: "6.1.0-32-amd64", Recorded: "all", Start: time.Unix(1_790_000_000, 0).UTC(), Duration: duration,
		Observers: []audit.Observer{{Name: "notification", Version: "1", Guarantees: []string{"every call", "inferred results"}}},
		Enforced:  audit.Enforced{Tier: "full", Filters: true, Limits: map[string]string{"memory": "cgroup", "processes": "cgroup"}},
		Complete:  true, Counters: audit.Counters{CanariesSent: 8, CanariesSeen: 8, Aborted: 3, Restarted: 3},
		Whitelist: audit.Whitelist{Requested: []string{"gcc", "make", "coreutils", "dash"}, Packages: inside,
			Paths: []string{"/opt/licenses"}, Dependencies: []string{"/var/lib/hdjail/store/aaaa-htslib-1.21"}}}
}

type sampler struct {
	random *rand.Rand
	audit  *audit.Audit
	seen   map[accessKey]bool
}

type accessKey struct {
	op    policies.Operation
	path  string
	errno int
}

// processes makes a tree: the script, configure with its tests, make with its compilers.
func (s *sampler) processes(n int) {
	add := func(parent int, exe string, argv ...string) int {
		id := len(s.audit.Processes) + 1
		s.audit.Processes = append(s.audit.Processes, audit.Process{ID: id, PID: id + 1, Parent: parent, Exe: exe, Argv: argv,
			Cwd: "/build/samtools-1.21", Start: time.Duration(id) * duration / time.Duration(n+8)})
		return id
	}
	script := add(0, "/usr/bin/dash", "/bin/sh", "-eu", "/build/.script")
	configure := add(script, "/usr/bin/dash", "/bin/sh", "./configure", "--prefix=/artifact")
	main, top := configure, 0
	for i := 0; len(s.audit.Processes) < n; i++ {
		file := fmt.Sprintf("conftest-%d.c", i)
		if len(s.audit.Processes) > n/2 && top == 0 {
			top = add(script, "/usr/bin/make", "make", "-j2", "CFLAGS=-O2 -g")
		}
		if top > 0 {
			main, file = top, fmt.Sprintf("src/unit_%d.c", i)
		}
		gcc := add(main, "/usr/bin/x86_64-linux-gnu-gcc-12", "gcc", "-O2", "-Wall", "-Ihtslib", "-c", file, "-o", file+".o")
		add(gcc, "/usr/lib/gcc/x86_64-linux-gnu/12/cc1", "cc1", "-quiet", "-imultiarch", "x86_64-linux-gnu", file, "-dumpbase", file)
		add(gcc, "/usr/bin/x86_64-linux-gnu-as", "as", "--64", "-o", file+".o", "/tmp/cc.s")
	}
}

func (s *sampler) access(i, step, n int) audit.Access {
	processes := s.audit.Processes
	p := processes[min(len(processes)-1, i*len(processes)/n+s.random.IntN(3))]
	a := audit.Access{Op: policies.OpRead, Count: 1 + int64(s.random.IntN(9))*int64(s.random.IntN(9)), Process: p.ID,
		First: p.Start + time.Duration(s.random.IntN(int(40*time.Millisecond))), Inferred: true, Calls: []string{"openat"}}
	switch {
	case i < 4 || step%97 == 0:
		s.rare(&a, i, step)
	case step%5 < 3:
		a.Op, a.Verdict, a.Errno, a.Calls = policies.OpProbe, policies.Absent, int(syscall.ENOENT), []string{"newfstatat"}
		a.Path = fmt.Sprintf("%s/%s", [...]string{"/usr/local/include", "/usr/lib/gcc/x86_64-linux-gnu/12/include", "/build/samtools-1.21/htslib", "/usr/local/bin"}[step%4],
			fmt.Sprintf("bits/part-%d/header_%d.h", step%50, step))
	case step%5 == 3:
		a.Verdict, a.Path, a.Owners = policies.Allowed, fmt.Sprintf("/usr/include/x86_64-linux-gnu/bits/types/t%d.h", step), inside[1:2]
	default:
		a.Verdict, a.Path = policies.Allowed, fmt.Sprintf("/build/samtools-1.21/src/unit_%d.c", step)
		if step%2 == 0 {
			a.Op, a.Path, a.Flags = policies.OpWrite, a.Path+".o", []string{"O_CREAT", "O_TRUNC"}
		}
	}
	return a
}

// rare is an access of a verdict that people look at.
func (s *sampler) rare(a *audit.Access, i, step int) {
	switch kind := step; {
	case i == 0 || i > 3 && kind%7 == 0:
		a.Op, a.Verdict, a.Errno, a.Calls = policies.OpCreate, policies.Denied, int(syscall.EROFS), []string{"mkdir"}
		a.Path = fmt.Sprintf("/usr/local/share/made-%d", i)
	case i == 1:
		a.Op, a.Verdict, a.Path, a.Reason = policies.OpConnect, policies.Unknown, "", "the path could not be read: EFAULT"
		a.Calls = []string{"connect"}
	case i == 2:
		a.Op, a.Verdict, a.Path, a.Reason = policies.OpList, policies.Leaked, "/opt/licenses", "lists entries outside the whitelist"
	default:
		o := outside[s.random.IntN(len(outside))]
		a.Op, a.Verdict, a.Errno = policies.OpProbe, policies.Hidden, int(syscall.ENOENT)
		a.Path, a.Host = o.files[s.random.IntN(len(o.files))], &audit.HostFile{Type: "file", Inode: uint64(step)}
		if i > 200 {
			a.Path += fmt.Sprintf(".d/%d", step)
		}
		if o.owner.Package != "" {
			a.Owners = []audit.Owner{o.owner}
		}
	}
}
