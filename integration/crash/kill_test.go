package crash

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestKilledAtRandom lets eight processes build, link and collect the same things in one store, and kills some of them at a
// moment that nobody chose. The others do not notice; the store is whole, nothing that was finished is lost, and the next
// command finds or builds everything.
func TestKilledAtRandom(t *testing.T) {
	random := chance(t)
	for range rounds(1, 10) { // a small store is looked at in less time
		s := newSite(t, storeIn(t))
		s.run("build", s.steady)
		killAtRandom(s, random, rounds(40, 100))
	}
}

// storeIn is the path of a store that is removed at the end.
func storeIn(t *testing.T) string {
	dir, err := os.MkdirTemp("", "hdjail-crash-store-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { remove(t, dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "store")
}

func killAtRandom(s *site, random *rand.Rand, rounds int) {
	usual := 500 * time.Millisecond // how long a round takes, roughly
	collects := hasVerb("gc")
	killed := 0
	for round := range rounds {
		middle, top := s.generation(round)
		started := time.Now()
		fleet := s.fleet(middle, top, collects && round%2 == 1)
		moment := time.After(time.Duration(random.Int64N(int64(usual))))
		select {
		case <-moment:
		case <-allEnded(fleet):
		}
		victims := choose(random, fleet)
		for _, p := range victims {
			p.kill()
		}
		for _, p := range fleet {
			s.end(p)
		}
		if !victims[0].command.ProcessState.Exited() {
			killed++
		}
		usual = (3*usual + time.Since(started)) / 4
		when := fmt.Sprintf("round %d, %d killed", round, len(victims))
		if collects && round%2 == 1 {
			s.forgetCollected()
		}
		s.mustBeWhole(when, false)
		s.run("build", "--profile", "next", top, middle)
		s.mustBeWhole(when+", after the next build", true)
		s.mustBeOneEach(when)
		s.mustLeaveNothing(victims)
		if soak || round%20 == 19 {
			s.verify()
		}
	}
	s.mustLeaveNoMount()
	s.t.Logf("%d rounds, %d with somebody still there to be killed; a round takes %v", rounds, killed, usual.Round(time.Millisecond))
	s.check.digested = nil
	s.mustBeWhole("at the end", true)
	s.verify()
}

// forgetCollected no longer asks for what a collection of this round may have removed: all that no generation of a profile
// links, and that nothing linked was built with.
func (s *site) forgetCollected() {
	kept := map[string]bool{}
	var keep func(id string)
	keep = func(id string) {
		var r found
		data, err := os.ReadFile(filepath.Join(s.root, "realizations", id, "manifest.json"))
		if kept[id] {
			return
		}
		kept[id] = true
		if err == nil && json.Unmarshal(data, &r.Manifest) == nil { // else it is lost, which mustBeWhole tells
			for _, chosen := range r.Manifest.Context {
				for _, rid := range chosen {
					keep(rid.String())
				}
			}
		}
	}
	generations, _ := filepath.Glob(filepath.Join(s.root, "profiles/*/generations/[0-9]*/generation.json"))
	for _, path := range generations {
		var g struct {
			Artifacts []struct{ Realization string }
		}
		if data, err := os.ReadFile(path); err != nil || json.Unmarshal(data, &g) != nil {
			s.t.Errorf("%s: %v", path, err)
		}
		for _, a := range g.Artifacts {
			keep(a.Realization)
		}
	}
	maps.DeleteFunc(s.printed, func(_, id string) bool { return !kept[id] })
}

// fleet starts eight processes.
func (s *site) fleet(middle, top string, collects bool) []*process {
	eighth := []string{"build", "-j1", middle}
	if collects {
		eighth = []string{"gc"}
	}
	var fleet []*process
	for _, args := range [][]string{
		{"build", "--profile", "a", top}, {"build", "--profile", "a", middle}, {"build", "--profile", "b", top, middle}, {"build", top},
		{"profile", "link", "b", middle}, {"profile", "link", "--set", "c", top}, {"build", "--profile", "c", top}, eighth,
	} {
		fleet = append(fleet, s.start(args...))
	}
	return fleet
}

func allEnded(fleet []*process) <-chan struct{} {
	all := make(chan struct{})
	go func() {
		for _, p := range fleet {
			<-p.ended
		}
		close(all)
	}()
	return all
}

// choose picks one of the processes, some, or all.
func choose(random *rand.Rand, fleet []*process) []*process {
	n := 1
	for n < len(fleet) && random.IntN(2) == 0 {
		n++
	}
	if random.IntN(5) == 0 {
		n = len(fleet)
	}
	var chosen []*process
	for _, i := range random.Perm(len(fleet))[:n] {
		chosen = append(chosen, fleet[i])
	}
	return chosen
}
