package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

func main() {
	met, err := run(os.Args[1:], os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "recall:", err)
		os.Exit(2)
	}
	if !met {
		os.Exit(1)
	}
}

// run compares the trace and the audit that args name, and reports whether all gates are met.
func run(args []string, out io.Writer) (bool, error) {
	flags := flag.NewFlagSet("recall", flag.ContinueOnError)
	trace := flags.String("trace", "", "what strace -f -y -s 4096 -o wrote inside the jail")
	audit := flags.String("audit", "", "the audit of the same run")
	cwd := flags.String("cwd", "/", "where strace was started")
	own := append([]string(nil), jailsOwn...)
	flags.Func("own", "a directory that the run was given with --rw or --ro", func(dir string) error {
		real, err := filepath.EvalSymlinks(dir)
		own = append(own, real)
		return err
	})
	if err := flags.Parse(args); err != nil {
		return false, err
	}
	traceFile, err := os.Open(*trace)
	if err != nil {
		return false, err
	}
	defer traceFile.Close()
	auditFile, err := os.Open(*audit)
	if err != nil {
		return false, err
	}
	defer auditFile.Close()
	lines, err := readTrace(traceFile)
	if err != nil {
		return false, err
	}
	d, err := readDocument(auditFile)
	if err != nil {
		return false, err
	}
	j := &judge{mode: d.Mode, own: own, onHost: map[string]bool{}}
	r := compare(accesses(lines, *cwd), d, j)
	met := r.print(out, d, r.measures(d))
	for i, line := range lines.odd {
		if i == shownDifferences {
			break
		}
		fmt.Fprintf(out, "not understood: %.200s\n", line)
	}
	return met && len(lines.odd) == 0, nil
}
