package daemon

import (
	"context"
	"time"

	"hdjail/jail"
)

var noDeadline time.Time

// places are those of one job. It has one while it runs, so that it always gets on, and waits for more if it has several
// builds to run at once.
type places struct {
	acquire func(context.Context) (release func(), err error)
	first   chan struct{} // holds a token while nobody uses the first place
	release func()
}

func newPlaces(acquire func(context.Context) (func(), error)) *places {
	return &places{acquire: acquire, first: make(chan struct{}, 1)}
}

// open waits for the first place.
func (p *places) open(ctx context.Context) (err error) {
	if p.release, err = p.acquire(ctx); err == nil {
		p.first <- struct{}{}
	}
	return err
}

// close gives back the first place, which nobody uses any more.
func (p *places) close() {
	if p.release != nil {
		p.release()
	}
}

// take waits for the first place or another one.
func (p *places) take(ctx context.Context) (giveBack func(), err error) {
	back := func() { p.first <- struct{}{} }
	select {
	case <-p.first:
		return back, nil
	default:
	}
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	other := make(chan func(), 1)
	go func() { // take receives from it
		release, err := p.acquire(waiting)
		if err != nil {
			release = nil
		}
		other <- release
	}()
	select {
	case <-p.first:
		cancel()
		if release := <-other; release != nil {
			release()
		}
		return back, nil
	case release := <-other:
		if release == nil {
			return nil, context.Cause(ctx)
		}
		return release, nil
	}
}

// placed is a Runner whose jails wait for a place.
type placed struct {
	jail.Runner
	places *places
}

// Scratch implements jail.Runner.
func (r placed) Scratch(ctx context.Context, dir string) (*jail.Scratch, error) {
	giveBack, err := r.places.take(ctx)
	if err != nil {
		return nil, err
	}
	s, err := r.Runner.Scratch(ctx, dir)
	if err != nil {
		giveBack()
		return nil, err
	}
	release := s.Release
	s.Release = func() error {
		defer giveBack()
		if release == nil {
			return nil
		}
		return release()
	}
	return s, nil
}
