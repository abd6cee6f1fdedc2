package jailplan

import (
	"maps"
	"slices"
	"strings"

	"hdjail/jail"
)

// Run is what `hdjail run` needs besides its View.
type Run struct {
	View
	// Args is the command, as in jail.Config.
	Args []string
	// Environ is the caller's environment, which modes log and off pass on but for secrets. Set comes on top.
	Environ []string
	Set     map[string]string
	// Dir is the caller's directory; the command starts there if it is visible, else in /build.
	Dir      string
	Limits   jail.Limits
	Terminal bool
}

// Config plans the jail of a command.
func (r Run) Config() (jail.Config, error) {
	r.Stores = nil // a command may use what the host shows of the store
	table, err := r.table()
	if err != nil {
		return jail.Config{}, err
	}
	dir := jail.BuildDir
	if r.Dir != "" && shows(table, r.Dir) {
		dir = r.Dir
	}
	host := !r.Mode.Contains()
	env := baseEnvironment()
	if host {
		env = passed(r.Environ)
	}
	env["PWD"] = dir
	maps.Copy(env, r.Set)
	return jail.Config{Name: r.Name, Scratch: r.Scratch, Mounts: table, Mode: r.Mode, Policy: r.Policy, Args: r.Args,
		Env: flatten(env), Dir: dir, Limits: r.Limits, Host: host, Terminal: r.Terminal}, nil
}

// passed is the caller's environment without what is secret.
func passed(environ []string) map[string]string {
	env := map[string]string{}
	for _, variable := range environ {
		name, value, found := strings.Cut(variable, "=")
		if found && name != "" && !secretVariable(name) {
			env[name] = value
		}
	}
	return env
}

// secretVariable reports whether a variable, by its name, holds a secret or leads to one.
func secretVariable(name string) bool {
	upper := strings.ToUpper(name)
	return slices.Contains([]string{"SSH_AUTH_SOCK", "GPG_AGENT_INFO", "XAUTHORITY", "KRB5CCNAME", "DBUS_SESSION_BUS_ADDRESS", "MYSQL_PWD",
		"SLURM_JWT", "DOCKER_AUTH_CONFIG"}, upper) ||
		slices.ContainsFunc([]string{"TOKEN", "SECRET", "PASSWORD", "PASSWD", "CREDENTIAL", "PRIVATE_KEY", "API_KEY", "APIKEY", "ACCESS_KEY",
			"PASSPHRASE"},
			func(part string) bool { return strings.Contains(upper, part) })
}
