package policies

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/goccy/go-yaml"
)

// Site is what an administrator says of a machine: /etc/hdjail/policy.yaml.
type Site struct {
	// Noise are paths that everything looks at and nothing depends on: accesses of them are on record and fail no build.
	Noise []string `yaml:"noise"`
	// Never are paths that no whitelist can allow: accesses of them count as leaked.
	Never []string `yaml:"never"`
	// Daemon is for `hdjail serve`.
	Daemon Daemon `yaml:"daemon"`
}

// maxSite bounds a site's file, in bytes.
const maxSite = 1 << 20

// ParseSite reads a site's file. Unknown keys and patterns that mean nothing are errors, with their place.
func ParseSite(text []byte) (s Site, err error) {
	if len(text) > maxSite {
		return s, fmt.Errorf("is larger than %d bytes", maxSite)
	}
	if err := decodeSite(text, &s); err != nil {
		return Site{}, err
	}
	if err := s.Daemon.check(); err != nil {
		return Site{}, err
	}
	for _, r := range s.Rules("/home") {
		if !r.Check() {
			return Site{}, fmt.Errorf("%q is no absolute path or pattern", r.Pattern)
		}
	}
	return s, nil
}

// decodeSite reads one document. The parser panics over some texts that are none (a tag before a number, for one).
func decodeSite(text []byte, s *Site) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("is no YAML that can be read: %v", p)
		}
	}()
	decoder := yaml.NewDecoder(bytes.NewReader(text), yaml.Strict())
	if err := decoder.Decode(s); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s", yaml.FormatError(err, false, false))
	}
	if err := decoder.Decode(new(any)); !errors.Is(err, io.EOF) {
		return errors.New("holds a second document, which would not be obeyed")
	}
	return nil
}

// Rules are the site's rules; "~" is home, and a pattern in it is left out when there is none.
func (s Site) Rules(home string) (list []PathRule) {
	add := func(patterns []string, action RuleAction) {
		for _, p := range patterns {
			if rest, inHome := strings.CutPrefix(p, "~/"); inHome {
				if home == "" {
					continue
				}
				p = home + "/" + rest
			}
			list = append(list, PathRule{Pattern: p, Action: action})
		}
	}
	add(s.Noise, RuleNoise)
	add(s.Never, RuleNever)
	return list
}
