package jail

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"hdjail/mounts"
)

func good() Config {
	return Config{Scratch: &Scratch{Dir: "/s"}, Args: []string{"/bin/sh", "-c", ""}, Env: []string{"A=b", "C="}, Dir: "/build",
		Mounts: mounts.Table{Entries: []mounts.Entry{{Target: "/build", Kind: mounts.Bind, Source: "/s/build", Directory: true}}}}
}

func TestValidate(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*Config)
		want   string // a part of the error; empty for none
	}{
		"good":            {func(*Config) {}, ""},
		"a name":          {func(c *Config) { c.Args = []string{"make"} }, ""},
		"no command":      {func(c *Config) { c.Args = nil }, "no command"},
		"empty command":   {func(c *Config) { c.Args[0] = "" }, "command is empty"},
		"NUL in argument": {func(c *Config) { c.Args[2] = "a\x00b" }, "NUL"},
		"hdjail itself":   {func(c *Config) { c.Args[0] = "/proc/self/exe" }, "below /proc"},
		"by a detour":     {func(c *Config) { c.Args[0] = "/bin/../proc/1/exe" }, "below /proc"},
		"relative":        {func(c *Config) { c.Args[0], c.Dir = "./self/exe", "/proc" }, "below /proc"},
		"no name":         {func(c *Config) { c.Env = []string{"=x"} }, "NAME=VALUE"},
		"no value":        {func(c *Config) { c.Env = []string{"x"} }, "NAME=VALUE"},
		"NUL in variable": {func(c *Config) { c.Env = []string{"x=\x00"} }, "NAME=VALUE"},
		"relative start":  {func(c *Config) { c.Dir = "build" }, "start directory"},
		"no scratch":      {func(c *Config) { c.Scratch = nil }, "no scratch"},
		"varied":          {func(c *Config) { c.Vary = Vary{Hostname: "check-1", CPUs: []int{0, 3}, SkipPIDs: MaxSkipPIDs} }, ""},
		"host name":       {func(c *Config) { c.Vary.Hostname = "a b" }, "host name"},
		"a long name":     {func(c *Config) { c.Vary.Hostname = strings.Repeat("a", 64) }, "host name"},
		"hyphen first":    {func(c *Config) { c.Vary.Hostname = "-a" }, "host name"},
		"processors":      {func(c *Config) { c.Vary.CPUs = []int{1, 1} }, "processors"},
		"no processor":    {func(c *Config) { c.Vary.CPUs = []int{-1} }, "processors"},
		"far processor":   {func(c *Config) { c.Vary.CPUs = []int{MaxCPU + 1} }, "processors"},
		"many numbers":    {func(c *Config) { c.Vary.SkipPIDs = MaxSkipPIDs + 1 }, "skip"},
		"mount in conflict": {func(c *Config) {
			c.Mounts.Entries = append(c.Mounts.Entries, mounts.Entry{Target: "/build", Kind: mounts.Tmpfs})
		}, "wanted twice"},
		"mount twice": {func(c *Config) { c.Mounts.Entries = append(slices.Clone(c.Mounts.Entries), c.Mounts.Entries...) }, "twice"},
	} {
		t.Run(name, func(t *testing.T) {
			c := good()
			test.change(&c)
			err := c.Validate()
			var setup *SetupError
			switch {
			case test.want == "" && err != nil:
				t.Error(err)
			case test.want != "" && (!errors.As(err, &setup) || setup.Phase != "configuration" || !strings.Contains(err.Error(), test.want)):
				t.Errorf("error %v, want one of phase configuration with %q", err, test.want)
			}
		})
	}
}

func TestScratchCloseTwice(t *testing.T) {
	released := 0
	s := &Scratch{Dir: "/s", Release: func() error { released++; return nil }}
	if err := errors.Join(s.Close(), s.Close(), (*Scratch)(nil).Close()); err != nil || released != 1 {
		t.Errorf("released %d times, error %v", released, err)
	}
}
