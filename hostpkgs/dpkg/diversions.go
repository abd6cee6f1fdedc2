package dpkg

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
)

// diversion moves a file aside: From as every other package ships it is at To; By owns From, or nobody when By is ":"
// (dpkg-divert(1)).
type diversion struct{ From, To, By string }

// diversions finds a diversion by either of its paths. The zero value has none.
type diversions struct{ from, to map[string]diversion }

func (db *Database) diversions() (diversions, error) {
	data, err := os.ReadFile(db.admin("diversions"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return diversions{}, fmt.Errorf("read dpkg database: %w", err)
	}
	d, err := parseDiversions(string(data))
	if err != nil {
		return diversions{}, fmt.Errorf("read %q: %w", db.admin("diversions"), err)
	}
	return d, nil
}

// parseDiversions reads three lines a diversion: from, to, by.
func parseDiversions(text string) (diversions, error) {
	d := diversions{from: map[string]diversion{}, to: map[string]diversion{}}
	if text == "" {
		return d, nil
	}
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if len(lines)%3 != 0 {
		return d, fmt.Errorf("%d lines, not a multiple of three", len(lines))
	}
	for i := 0; i < len(lines); i += 3 {
		if !path.IsAbs(lines[i]) || !path.IsAbs(lines[i+1]) {
			return d, fmt.Errorf("line %d: not an absolute path", i+1)
		}
		v := diversion{From: path.Clean(lines[i]), To: path.Clean(lines[i+1]), By: lines[i+2]}
		d.from[v.From], d.to[v.To] = v, v
	}
	return d, nil
}

// place returns where dpkg put the file that pkg ships as name. dpkg compares as written, so /bin/x is not /usr/bin/x.
func (d diversions) place(name, pkg string) string {
	if v, ok := d.from[name]; ok && v.By != pkg {
		return v.To
	}
	return name
}
