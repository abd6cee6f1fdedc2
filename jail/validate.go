package jail

import (
	"fmt"
	"path"
	"strings"

	"hdjail/mounts"
)

// Validate checks what no Runner may accept: a relative or unclean path, a command below /proc, a variable without a name,
// bytes that cannot be passed on. The error is a *SetupError of phase "configuration".
func (c Config) Validate() error {
	for _, check := range []func(Config) error{checkCommand, checkEnvironment, checkDir, checkScratch, checkMounts, checkVary} {
		if err := check(c); err != nil {
			return &SetupError{Phase: "configuration", Err: err}
		}
	}
	return nil
}

func checkCommand(c Config) error {
	if len(c.Args) == 0 {
		return fmt.Errorf("no command")
	}
	for _, arg := range c.Args {
		if strings.ContainsRune(arg, 0) {
			return fmt.Errorf("argument %q holds a NUL", arg)
		}
	}
	command := c.Args[0]
	if command == "" {
		return fmt.Errorf("the command is empty")
	}
	if strings.Contains(command, "/") && !path.IsAbs(command) {
		command = path.Join(c.Dir, command)
	}
	if mounts.Below("/proc", path.Clean(command)) { // /proc/self/exe is hdjail itself until the command runs
		return fmt.Errorf("command %q lies below /proc", c.Args[0])
	}
	return nil
}

func checkEnvironment(c Config) error {
	for _, variable := range c.Env {
		if name, _, ok := strings.Cut(variable, "="); !ok || name == "" || strings.ContainsRune(variable, 0) {
			return fmt.Errorf("variable %q is not NAME=VALUE", variable)
		}
	}
	return nil
}

func checkDir(c Config) error {
	if !path.IsAbs(c.Dir) || strings.ContainsRune(c.Dir, 0) {
		return fmt.Errorf("start directory %q is not absolute", c.Dir)
	}
	return nil
}

func checkScratch(c Config) error {
	if c.Scratch == nil || !path.IsAbs(c.Scratch.Dir) {
		return fmt.Errorf("no scratch")
	}
	return nil
}

func checkMounts(c Config) error {
	again, err := mounts.Plan(c.Mounts.Entries)
	if err == nil && len(again.Entries) != len(c.Mounts.Entries) {
		err = fmt.Errorf("mount table holds an entry twice")
	}
	return err
}

func checkVary(c Config) error {
	v := c.Vary
	hostLetters := "abcdefghijklmnopqrstuvwxyz0123456789-"
	if len(v.Hostname) > 63 || strings.Trim(v.Hostname, hostLetters) != "" || strings.Trim(v.Hostname, "-") != v.Hostname {
		return fmt.Errorf("host name %q is no label of 1 to 63 lower-case letters, digits and inner hyphens", v.Hostname)
	}
	for i, cpu := range v.CPUs {
		if cpu < 0 || cpu > MaxCPU || i > 0 && v.CPUs[i-1] >= cpu {
			return fmt.Errorf("processors %v are not sorted numbers from 0 to %d", v.CPUs, MaxCPU)
		}
	}
	if v.SkipPIDs < 0 || v.SkipPIDs > MaxSkipPIDs {
		return fmt.Errorf("%d process numbers to skip are not from 0 to %d", v.SkipPIDs, MaxSkipPIDs)
	}
	return nil
}
