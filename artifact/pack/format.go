package pack

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"hdjail/artifact"
	"hdjail/artifact/store"
	"hdjail/artifact/tree"
)

// formatVersion is the version of the archives that are written, and the newest that is read.
const formatVersion = 1

// Names of members.
const (
	headerName       = "archive.json"
	derivationsDir   = "derivations/"
	realizationsDir  = "realizations/"
	sourcesDir       = "sources/"
	manifestName     = "manifest.json"
	outName          = "out"
	derivationSuffix = ".json"
)

// memberTime is the time of every member, and of everything that is unpacked.
var memberTime = time.Unix(1, 0)

// Header is the first member of an archive. Its lists are sorted by the text of IDs and have no duplicates.
type Header struct {
	Format int `json:"hdjail_archive"`
	// Prefix is that of all derivations: only a store with the same one can take them.
	Prefix string `json:"prefix"`
	// Roots are what was asked for.
	Roots        []Root                   `json:"roots"`
	Derivations  []artifact.DerivationID  `json:"derivations"`
	Realizations []artifact.RealizationID `json:"realizations"`
	// Omitted are realizations that others in the archive were built with, or roots, and that the other side has.
	Omitted []Omitted `json:"omitted"`
	Sources []string  `json:"sources"`
}

// Root is what somebody asked for: a derivation, or a realization of it when that is not zero.
type Root struct {
	Derivation  artifact.DerivationID  `json:"derivation"`
	Realization artifact.RealizationID `json:"realization,omitzero"`
}

// Omitted is a realization that is not in an archive. Name is the derivation's name and version, for people.
type Omitted struct {
	Realization artifact.RealizationID `json:"realization"`
	Derivation  artifact.DerivationID  `json:"derivation"`
	Name        string                 `json:"name"`
}

// Manifest describes a realization of an archive. Record is the run that made it. Number is that of its newest run, which
// orders the realizations of one derivation.
type Manifest struct {
	Derivation artifact.DerivationID `json:"derivation"`
	Context    artifact.Context      `json:"context"`
	Tree       artifact.TreeDigest   `json:"tree"`
	Number     int                   `json:"number"`
	Record     artifact.BuildRecord  `json:"record"`
}

// encode is the one form of a JSON member.
func encode(value any) ([]byte, error) {
	data, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode member: %w", err)
	}
	return append(data, '\n'), nil
}

// decode reads a JSON member, and accepts only what encode writes.
func decode(name string, data []byte, value any) error {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(value); err != nil {
		return &RefusedError{name, "json", err.Error()}
	}
	if again, err := encode(value); err != nil || !bytes.Equal(again, data) {
		return &RefusedError{name, "json", "it is not in the form that hdjail writes"}
	}
	return nil
}

// decodeHeader reads the first member.
func decodeHeader(data []byte) (*Header, error) {
	var version struct {
		Format int `json:"hdjail_archive"`
	}
	if err := json.Unmarshal(data, &version); err != nil || version.Format < 1 {
		return nil, &RefusedError{headerName, "json", "it is not the header of an archive of hdjail"}
	}
	if version.Format > formatVersion {
		return nil, &FormatError{version.Format, formatVersion}
	}
	h := new(Header)
	if err := decode(headerName, data, h); err != nil {
		return nil, err
	}
	return h, h.check()
}

// check makes sure that the lists are sorted.
func (h *Header) check() error {
	omitted := make([]string, len(h.Omitted))
	for i, o := range h.Omitted {
		omitted[i] = o.Realization.String()
	}
	for what, list := range map[string][]string{"derivations": texts(h.Derivations), "realizations": texts(h.Realizations),
		"omitted": omitted, "sources": h.Sources} {
		for i := range list {
			if i > 0 && list[i-1] >= list[i] {
				return &RefusedError{headerName, "order", fmt.Sprintf("its list of %s is not sorted, or has one twice", what)}
			}
		}
	}
	return nil
}

func texts[T fmt.Stringer](list []T) []string {
	all := make([]string, len(list))
	for i, v := range list {
		all[i] = v.String()
	}
	return all
}

// member is the header of a tar member with the one form that is accepted.
func member(name string, kind tree.Kind) *tar.Header {
	h := &tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o444, ModTime: memberTime}
	switch kind {
	case tree.Directory:
		h.Name, h.Typeflag, h.Mode = name+"/", tar.TypeDir, 0o555
	case tree.Executable:
		h.Mode = 0o555
	case tree.Link:
		h.Typeflag, h.Mode = tar.TypeSymlink, 0o777
	}
	return h
}

// kindOf tells what kind of entry a member is, and refuses everything that member does not make.
func kindOf(h *tar.Header) (kind tree.Kind, name string, err error) {
	name = h.Name
	refuse := func(what, format string, args ...any) (tree.Kind, string, error) {
		return 0, name, &RefusedError{name, what, fmt.Sprintf(format, args...)}
	}
	switch {
	case h.Typeflag == tar.TypeReg && h.Mode == 0o444:
		kind = tree.File
	case h.Typeflag == tar.TypeReg && h.Mode == 0o555:
		kind = tree.Executable
	case h.Typeflag == tar.TypeDir && h.Mode == 0o555 && strings.HasSuffix(name, "/"):
		kind, name = tree.Directory, name[:len(name)-1]
	case h.Typeflag == tar.TypeSymlink && h.Mode == 0o777:
		kind = tree.Link
	case h.Typeflag == tar.TypeReg || h.Typeflag == tar.TypeDir || h.Typeflag == tar.TypeSymlink:
		return refuse("mode", "its mode is %04o", h.Mode)
	default:
		return refuse("type", "it is no file, directory or symbolic link (type %q)", h.Typeflag)
	}
	for key := range h.PAXRecords {
		if key != "path" && key != "linkpath" && key != "size" {
			return refuse("type", "it has the extended header %q", key)
		}
	}
	switch {
	case h.Format&(tar.FormatUSTAR|tar.FormatPAX) == 0:
		return refuse("type", "it is not in the POSIX format")
	case h.Uid != 0 || h.Gid != 0 || h.Uname != "" || h.Gname != "" || h.Devmajor != 0 || h.Devminor != 0:
		return refuse("mode", "it has an owner")
	case !h.ModTime.Equal(memberTime) || !h.AccessTime.IsZero() || !h.ChangeTime.IsZero():
		return refuse("mode", "its time is not that of a member")
	case kind != tree.Link && h.Linkname != "" || kind != tree.File && kind != tree.Executable && h.Size != 0:
		return refuse("type", "its fields contradict one another")
	}
	return kind, name, nil
}

// pathOf is where the parts of a realization are in an archive.
func pathOf(id artifact.RealizationID, part string) string {
	return realizationsDir + id.String() + "/" + part
}

// keptNames are what lies beside a tree, in the order of an archive; all come before the manifest.
var keptNames = []string{store.AuditFile, store.LogFile}
