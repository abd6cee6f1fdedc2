package main

import (
	"errors"

	"hdjail/build/daemon"
	"hdjail/build/daemon/client"
	"hdjail/build/daemon/rules"
	"hdjail/build/daemon/sitelog"
	"hdjail/build/daemon/wire"
)

// diagnoseDaemon is for what a daemon says, and what happens to it.
func diagnoseDaemon(err error) (problem, bool) {
	if errors.Is(err, daemon.ErrStopped) {
		return problem{Code: "HJ0087"}, true
	}
	for _, d := range []func(error) (problem, bool){
		on(func(e *client.Error) problem {
			return problem{Code: e.Code, Exit: e.Exit, Text: e.Text, Details: e.Details, Help: e.Help}
		}),
		on(diagnoseRefused),
		on(func(*client.LostError) problem {
			return problem{Code: "HJ0088", Help: helps("hdjail jobs lists what it runs; what was built is in its store")}
		}),
		on(func(*wire.FrameError) problem {
			return problem{Code: "HJ0088", Help: helps("use the hdjail of the daemon's version")}
		}),
		on(func(*wire.TooLargeError) problem {
			return problem{Code: "HJ0083", Help: helps("put data into a file and name it as a source; build large stacks in parts")}
		}),
		on(func(*sitelog.DamageError) problem { return problem{Code: "HJ0089"} }),
	} {
		if p, ok := d(err); ok {
			return p, true
		}
	}
	return problem{}, false
}

// diagnoseRefused tells who was refused for ever from who may come again.
func diagnoseRefused(e *rules.Refused) problem {
	switch e.Kind {
	case rules.Busy:
		return problem{Code: "HJ0087"}
	case rules.Quota:
		return problem{Code: "HJ0084"}
	}
	return problem{Code: "HJ0083", Help: helps("hdjail build --no-daemon builds in a store of your own")}
}
