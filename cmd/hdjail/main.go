// Command hdjail builds hashed specs in jails and links what comes out into profiles. This package holds flags, wiring,
// printing and exit codes, one file a verb; what it does is in the packages beside it.
package main

import (
	"cmp"
	"context"
	"errors"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"

	_ "hdjail/jail/reexec" // turns this program into a jail's init before anything else happens
)

// version is set by the linker.
var version = "dev"

func main() {
	collectLate()
	os.Exit(run())
}

// collectLate has the garbage collector begin at a heap of 20 MB instead of 4, because most runs end before it is worth its
// time. From its first collection on the heap may grow by as much as is in use.
func collectLate() {
	debug.SetGCPercent(500)
	unused := &struct{ self any }{}
	runtime.AddCleanup(unused, func(percent int) { debug.SetGCPercent(percent) }, 100)
}

// run is the program; what it returns is the exit status.
func run() int {
	a, err := newApp()
	if err == nil {
		ctx, stop := interruptible()
		defer stop()
		err = a.run(ctx, os.Args)
		if err != nil && ctx.Err() != nil && !errors.As(err, new(exitStatus)) {
			err = context.Canceled // whatever it made fail
		}
		err = a.close(cmp.Or(err, a.out.err))
	}
	return a.exit(err)
}

// interruptible returns a context that the first SIGINT or SIGTERM cancels. A second one ends the program at once.
func interruptible() (context.Context, func()) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, func() {
		again := make(chan os.Signal, 1)
		signal.Notify(again, os.Interrupt, syscall.SIGTERM)
		stop()
		go func() {
			<-again
			os.Exit(exitInterrupted)
		}()
	})
	return ctx, stop
}
