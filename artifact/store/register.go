package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"hdjail/artifact"
	"hdjail/artifact/tree"
)

// Registration is a good run of a build, to be stored.
type Registration struct {
	Derivation *artifact.Derivation
	// Context has the derivation's direct dependencies and no others. Every realization in it is in the store.
	Context artifact.Context
	// Out is the host path of the output tree, canonical, with its digest: what collect.Collect leaves and returns. It is
	// moved into the store, or dropped when that has the realization already.
	Out  string
	Tree artifact.TreeDigest
	// Bytes is the content of all files of the tree together, 0 if nobody counted.
	Bytes int64
	// Copy takes the tree by copying: new files make descriptors worthless that the build may have passed on.
	Copy bool
	// Log is the path of the log, empty for none. It is compressed into the store and stays where it is.
	Log string
	// Audit is the compressed audit, nil for none.
	Audit []byte
	// Record tells the run. Register sets Derivation, Context, Realization and Tree.
	Record artifact.BuildRecord
}

// manifest is the file beside a tree: what it is, and the first run that gave it.
type manifest struct {
	ID         artifact.RealizationID `json:"id"`
	Derivation artifact.DerivationID  `json:"derivation"`
	Context    artifact.Context       `json:"context"`
	Tree       artifact.TreeDigest    `json:"tree"`
	// Bytes is the content of all files of the tree together, 0 if nobody counted.
	Bytes int64                `json:"bytes,omitempty"`
	First artifact.BuildRecord `json:"first"`
}

// Register publishes a realization: its tree with manifest, log and audit, then the public path unless that leads somewhere
// already, then the build record, which makes it a candidate. When it returns all of it is on disk. When the store has the realization, only the
// record is added, with its log. On an error nothing is published, or what is published is whole. A full file system gives
// *SpaceError.
func (s *Store) Register(ctx context.Context, r Registration) (artifact.Realization, error) {
	if err := errors.Join(s.writable(), ctx.Err()); err != nil {
		return artifact.Realization{}, err
	}
	id, err := s.PutDerivation(r.Derivation)
	if err != nil {
		return artifact.Realization{}, err
	}
	if err := s.checkContext(r.Derivation, r.Context); err != nil {
		return artifact.Realization{}, err
	}
	m := manifest{ID: artifact.NewRealizationID(id, r.Context, r.Tree), Derivation: id, Context: r.Context, Tree: r.Tree, Bytes: r.Bytes}
	r.Record.Derivation, r.Record.Context, r.Record.Realization, r.Record.Tree = id, r.Context, m.ID, r.Tree
	if err := s.publish(ctx, &r, m); err != nil {
		return artifact.Realization{}, fmt.Errorf("register %q: %w", r.Derivation.Name, err)
	}
	if r.Record.Number > 1 {
		return s.Realization(m.ID)
	}
	return artifact.Realization{ID: m.ID, Derivation: id, Context: m.Context, Tree: m.Tree, Records: []artifact.BuildRecord{r.Record}}, nil
}

// publish does what Register says, in its order.
func (s *Store) publish(ctx context.Context, r *Registration, m manifest) error {
	_, err := s.manifest(m.ID)
	exists := err == nil
	if err != nil && !errors.As(err, new(*NotFoundError)) {
		return err
	}
	var stage *Temp
	if !exists {
		if stage, err = s.stageRealization(ctx, r, m); err != nil {
			return err
		}
		defer stage.Close()
	}
	record, err := s.stageRecordOf(r, exists)
	if err != nil {
		return err
	}
	if err = s.sync(); err == nil && !exists {
		if _, err = s.moveTo(stage.Dir, s.path("realizations", m.ID.String())); err == nil { // another may have been faster: one tree, one name
			err = s.keepsContext(m)
		}
	}
	if err != nil {
		return errors.Join(err, record.Close())
	}
	// From here on the record's stage is removed only when it has its name: what fails, or is killed, is finished by Sweep.
	if err := s.linkPublic(m); err != nil {
		return err
	}
	if err := s.publishRecord(record, &r.Record); err != nil {
		return err
	}
	if err := errors.Join(record.Close(), s.linkLast(&r.Record)); err != nil {
		return err
	}
	return s.syncNames(m.Derivation)
}

// keepsContext takes a realization back that was published when what it was built with had gone: a lease that was lost must
// not leave a result that lacks something.
func (s *Store) keepsContext(m manifest) error {
	for _, chosen := range m.Context {
		for _, id := range chosen {
			if unix.Access(s.path("realizations", id.String()), unix.F_OK) == nil {
				continue
			}
			missing := &NotFoundError{"realization", id.String()}
			bin, err := s.NewBin()
			if err != nil {
				return errors.Join(missing, err)
			}
			_, err = bin.Take(s.path("realizations", m.ID.String()))
			return errors.Join(missing, err, bin.Close())
		}
	}
	return nil
}

// stageRecordOf stages the record of a registration. Log and audit are with the realization if this run made it.
func (s *Store) stageRecordOf(r *Registration, exists bool) (*Temp, error) {
	if exists {
		return s.stageRecord(&r.Record, r.Log, r.Audit)
	}
	return s.stageRecord(&r.Record, "", nil)
}

// stageRealization puts a realization together in a temporary directory.
func (s *Store) stageRealization(ctx context.Context, r *Registration, m manifest) (*Temp, error) {
	stage, err := s.NewTemp()
	if err != nil {
		return nil, err
	}
	if r.Record.LogBytes, err = s.putLogs(stage.Dir, r.Log, r.Audit, r.Record.LogBytes); err == nil {
		m.First = r.Record
		err = s.putJSON(stage.Dir+"/manifest.json", m)
	}
	if err == nil {
		err = s.linkDependencies(stage.Dir, m.Context)
	}
	if err == nil {
		err = s.takeTree(ctx, r, stage.Dir+"/out")
	}
	return s.staged(stage, err)
}

// staged ends the filling of a stage: it is ready to be renamed, or removed if filling it failed with err.
func (s *Store) staged(stage *Temp, err error) (*Temp, error) {
	if err == nil {
		err = s.denied(stage.Dir, os.Chmod(stage.Dir, 0o755))
	}
	if err != nil {
		stage.Close()
		return nil, err
	}
	return stage, nil
}

// takeTree moves the output tree to target, which is not yet visible to anybody, and seals its root. From another file
// system, or when the build may have passed descriptors on, it is copied, and the copy digested again.
func (s *Store) takeTree(ctx context.Context, r *Registration, target string) error {
	err := error(unix.EXDEV)
	if !r.Copy {
		err = unix.Rename(r.Out, target)
	}
	if errors.Is(err, unix.EXDEV) {
		err = s.copyTree(ctx, r, target)
	}
	if err != nil {
		return s.denied(target, err)
	}
	out, err := tree.Open(target, false)
	if err != nil {
		return err
	}
	defer out.Close()
	return s.denied(target, tree.Seal(int(out.Fd()), 0o555))
}

func (s *Store) copyTree(ctx context.Context, r *Registration, target string) error {
	src, err := tree.Open(r.Out, false)
	if err != nil {
		return err
	}
	defer src.Close()
	if err := os.Mkdir(target, 0o700); err != nil {
		return err
	}
	dst, err := tree.Open(target, false)
	if err != nil {
		return err
	}
	defer dst.Close()
	if err := tree.Copy(ctx, src, dst); err != nil {
		return err
	}
	copied, _, err := tree.Digest(ctx, dst, tree.Options{})
	if err == nil && copied != r.Tree {
		err = &artifact.MalformedError{What: "tree", Name: r.Out, Reason: fmt.Sprintf("its digest is %s, not %s", copied, r.Tree)}
	}
	return err
}

// linkDependencies puts a link with the public name of each direct dependency beside the tree, so that relative paths
// between artifacts lead to the exact realization.
func (s *Store) linkDependencies(dir string, ctx artifact.Context) error {
	for id, chosen := range ctx {
		if len(chosen) != 1 {
			continue
		}
		name, err := s.publicName(id)
		if err != nil {
			return err
		}
		link := dir + "/" + name
		if err := os.Symlink("../"+chosen[0].String()+"/out", link); err != nil {
			return s.denied(link, err)
		}
	}
	return nil
}

// linkPublic makes the public path lead to the realization, unless it leads to one that exists.
func (s *Store) linkPublic(m manifest) error {
	name, err := s.publicName(m.Derivation)
	if err != nil {
		return err
	}
	link, target := s.path("store", name), publicTarget(m.ID)
	err = os.Symlink(target, link)
	if !errors.Is(err, fs.ErrExist) {
		return s.denied(link, err)
	}
	if _, err := os.Stat(link); errors.Is(err, fs.ErrNotExist) {
		return s.writeLink(link, target)
	}
	return nil
}

// checkContext makes sure that the context is one of d, and that the store has what it names.
func (s *Store) checkContext(d *artifact.Derivation, ctx artifact.Context) error {
	return ctx.Fits(d, func(id artifact.RealizationID) (artifact.DerivationID, error) {
		m, err := s.manifest(id)
		return m.Derivation, err
	})
}

// Realizations returns the realizations of a derivation that the store has, by ID. None is no error. It reads the build
// records only.
func (s *Store) Realizations(id artifact.DerivationID) ([]artifact.Realization, error) {
	records, err := s.Records(id)
	if err != nil {
		return nil, err
	}
	var found []artifact.Realization
	for _, r := range records {
		if r.Realization.IsZero() {
			continue
		}
		i := slices.IndexFunc(found, func(f artifact.Realization) bool { return f.ID == r.Realization })
		if i < 0 {
			if unix.Access(s.path("realizations", r.Realization.String()), unix.F_OK) != nil {
				continue // collected
			}
			i = len(found)
			found = append(found, artifact.Realization{ID: r.Realization, Derivation: id, Context: r.Context, Tree: r.Tree})
		}
		found[i].Records = append(found[i].Records, r)
	}
	slices.SortFunc(found, func(a, b artifact.Realization) int { return slices.Compare(a.ID[:], b.ID[:]) })
	return found, nil
}

// Realization reads one realization. One that the store lacks gives *NotFoundError.
func (s *Store) Realization(id artifact.RealizationID) (artifact.Realization, error) {
	m, err := s.manifest(id)
	if err != nil {
		return artifact.Realization{}, err
	}
	all, err := s.Realizations(m.Derivation)
	if err != nil {
		return artifact.Realization{}, err
	}
	for _, r := range all {
		if r.ID == id {
			return r, nil
		}
	}
	return s.Manifest(id)
}

// Manifest reads one realization without its build records: Records has only the run that made it. One that the store
// lacks gives *NotFoundError.
func (s *Store) Manifest(id artifact.RealizationID) (artifact.Realization, error) {
	m, err := s.manifest(id)
	return artifact.Realization{ID: m.ID, Derivation: m.Derivation, Context: m.Context, Tree: m.Tree, Records: []artifact.BuildRecord{m.First}}, err
}

func (s *Store) manifest(id artifact.RealizationID) (manifest, error) {
	data, err := readFile(s.path("realizations", id.String(), "manifest.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return manifest{}, &NotFoundError{"realization", id.String()}
	}
	if err != nil {
		return manifest{}, err
	}
	return decodeManifest(id, data)
}

func decodeManifest(id artifact.RealizationID, data []byte) (manifest, error) {
	var m manifest
	malformed := func(reason string) (manifest, error) {
		return manifest{}, &artifact.MalformedError{What: "manifest", Name: id.String(), Reason: reason}
	}
	if err := json.Unmarshal(data, &m); err != nil {
		return malformed(err.Error())
	}
	if err := m.Context.Check(); err != nil {
		return malformed(err.Error())
	}
	if m.ID != id || artifact.NewRealizationID(m.Derivation, m.Context, m.Tree) != id {
		return malformed("its content has another identity")
	}
	return m, nil
}
