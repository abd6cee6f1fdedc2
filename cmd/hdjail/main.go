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
	"syscall"

	_ "hdjail/jail/reexec" // turns this program into a jail's init before anything else happens
)

// version is set by the linker.
var version = "dev"

func main() {
	// Most runs end before the garbage collector is worth its time. These bytes are never touched, so they cost no memory;
	// they make the first collection wait until the heap is about as large again.
	ballast := make([]byte, 16<<20)
	status := run()
	runtime.KeepAlive(ballast)
	os.Exit(status)
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
