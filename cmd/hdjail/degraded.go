package main

import (
	"slices"

	"github.com/urfave/cli/v2"

	"hdjail/jail/container"
)

// degradedNetwork is the name of the degradation that shares the host's network namespace.
const degradedNetwork = "netns"

func allowDegradedFlag() cli.Flag {
	return &cli.StringSliceFlag{Name: "allow-degraded",
		Usage: "go without `FEATURE` if this host lacks it: netns, network namespaces; results have an ID of their own"}
}

// allowDegraded takes note of what the caller allows and this host lacks. What the host has is used, whatever is allowed.
func (a *app) allowDegraded(features []string) error {
	for _, feature := range features {
		if feature != degradedNetwork {
			return usagef("--allow-degraded "+quote(feature)+" names nothing that jails can go without", "there is "+degradedNetwork)
		}
		if slices.Contains(a.degraded, feature) || container.HasNetworkNamespaces() {
			continue
		}
		a.degraded = append(a.degraded, feature)
		a.out.say("hdjail: this host makes no network namespaces: jails share its network, and filters refuse every socket that could reach it")
	}
	return nil
}
