package leaks

// Belongs says what a path is part of.
type Belongs string

// What a path can belong to.
const (
	// Output is the artifact itself.
	Output Belongs = "output"
	// Dependency is the artifact of a declared dependency.
	Dependency Belongs = "dependency"
	// Package is what the whitelist shows of the host.
	Package Belongs = "package"
	// Leak is an artifact that is no declared dependency, or what the host has outside the whitelist.
	Leak Belongs = "leak"
	// BuildDir is a directory that is gone when the build is over.
	BuildDir Belongs = "build"
	// Missing is what exists nowhere.
	Missing Belongs = "missing"
)

// Origin says what a path belongs to, and to whom.
type Origin struct {
	Belongs Belongs `json:"belongs"`
	// Dependency is the public path of the dependency.
	Dependency string `json:"dependency,omitempty"`
	// Package and PackageVersion are the host package that owns the path, whitelisted or not; empty where none is known.
	Package        string `json:"package,omitempty"`
	PackageVersion string `json:"package_version,omitempty"`
}

// Report is what Scan has found, in the order of a tree encoding. Names of files are relative to the root of the tree. Bytes that are not
// UTF-8 become U+FFFD in JSON.
type Report struct {
	// ELF are the needs of all ELF files, in the order of each file.
	ELF []Need `json:"elf"`
	// Runpaths are the entries of RPATH and RUNPATH that should not be there.
	Runpaths []Runpath `json:"runpaths"`
	// Text are the absolute paths in files.
	Text []Reference `json:"text"`
	// Malformed are files that begin like ELF files and cannot be read as such.
	Malformed []Malformed `json:"malformed"`
	// Summary counts everything, listed or not.
	Summary   Summary   `json:"summary"`
	Truncated Truncated `json:"truncated"`
}

// Need is something that the dynamic linker, or the kernel, loads for an ELF file.
type Need struct {
	File string `json:"file"`
	// Kind is "needed" or "interpreter".
	Kind string `json:"kind"`
	// Name is what the file asks for.
	Name string `json:"name"`
	// Path is where that is, in the jail or, for a leak, on the host; links in its last component are not resolved. It is
	// empty for what is missing.
	Path string `json:"path,omitempty"`
	// Via says how it is found: "path" (Name is one), "rpath", "runpath", "cache", "default"; or "program" when the file's
	// own entries do not lead there but those of Program, which loads it, do.
	Via     string `json:"via,omitempty"`
	Program string `json:"program,omitempty"`
	Origin
}

// Runpath is an entry of a RPATH or RUNPATH through which a library could come from an unintended place.
type Runpath struct {
	File string `json:"file"`
	// Tag is "RPATH" or "RUNPATH".
	Tag string `json:"tag"`
	// Entry is as it stands in the file, Path with its variables replaced.
	Entry string `json:"entry"`
	Path  string `json:"path,omitempty"`
	// Reason is "empty" or "relative" (both mean the working directory of whoever starts the program), "build", "writable"
	// (everybody may put a library there) or "outside" (neither the artifact, nor a dependency, nor whitelisted).
	Reason string `json:"reason"`
	Origin
}

// Reference is an absolute path in a file.
type Reference struct {
	File string `json:"file"`
	// Kind is "text", "shebang" or "binary". In binary files only stores and build directories are looked for, and Path is
	// that of the artifact or build directory.
	Kind string `json:"kind"`
	Path string `json:"path"`
	// Line is the first one with the path, from 1, of a text; Offset is the first byte of the path in any file.
	Line   int   `json:"line,omitempty"`
	Offset int64 `json:"offset"`
	// Count is how often the file has the path.
	Count int `json:"count"`
	// Absent tells that what it belongs to has nothing there.
	Absent bool `json:"absent,omitempty"`
	Origin
}

// Malformed is an ELF file whose needs are not known.
type Malformed struct {
	File   string `json:"file"`
	Reason string `json:"reason"`
}

// Summary counts what was found.
type Summary struct {
	// Files are all regular files, of which ELF, Scripts (they begin with "#!") and Texts are such.
	Files   int `json:"files"`
	ELF     int `json:"elf"`
	Scripts int `json:"scripts"`
	Texts   int `json:"texts"`
	// Bytes is how much was searched.
	Bytes int64 `json:"bytes"`
	// Needs, References (of texts and scripts) and Binary (references) are counted by what they belong to.
	Needs      map[Belongs]int `json:"needs"`
	References map[Belongs]int `json:"references"`
	Binary     map[Belongs]int `json:"binary"`
	Runpaths   int             `json:"runpaths"`
	Malformed  int             `json:"malformed"`
}

// Leaks is how many findings say that the artifact uses what it should not: needs that leak or are missing, bad RPATH and
// RUNPATH entries, and references that leak.
func (s Summary) Leaks() int {
	return s.Needs[Leak] + s.Needs[Missing] + s.Runpaths + s.References[Leak] + s.Binary[Leak]
}

// Truncated counts what the bounds have cut off; all zero for a whole report.
type Truncated struct {
	// Needs, Runpaths, References and Malformed were found and are in the Summary, but are not listed.
	Needs      int `json:"needs,omitempty"`
	Runpaths   int `json:"runpaths,omitempty"`
	References int `json:"references,omitempty"`
	Malformed  int `json:"malformed,omitempty"`
	// Texts were searched for paths of the host only at their beginning; Files were searched only there, and Bytes of them
	// not at all.
	Texts int   `json:"texts,omitempty"`
	Files int   `json:"files,omitempty"`
	Bytes int64 `json:"bytes,omitempty"`
	// Paths are occurrences that were not judged, as a file or the tree has too many different paths.
	Paths int `json:"paths,omitempty"`
	// ELF are files whose needs were not resolved, because the tree has too many.
	ELF int `json:"elf,omitempty"`
}

// Place is a file or directory with the path that the jail gave it.
type Place struct {
	// Public is the path in the jail, Host that on the host. Both are absolute and clean.
	Public, Host string
}

// Options say what belongs to whom. Paths are absolute and clean.
type Options struct {
	// Artifact is $ARTIFACT, the public path of the tree.
	Artifact string
	// Dependencies are the trees that the jail showed, direct and deeper ones, at their public paths.
	Dependencies []Place
	// Stores are the root of the store and the prefix of public paths.
	Stores []string
	// Root is a directory of the host that the jail had as its root: the tree composed of whitelisted packages, "/" where
	// the host was visible, "" for none.
	Root string
	// Paths are whitelisted paths of the host.
	Paths []Place
	// Whitelisted says whether a path of Root, without links, is whitelisted; nil if all are. Paths always are.
	Whitelisted func(path string) bool
	// BuildDirs are directories of the build that are gone afterwards.
	BuildDirs []string
	// Owner returns the host package that a path of the host belongs to; nil knows none.
	Owner func(path string) (name, version string, ok bool)
	// OnHost says whether the host has a path; nil says no.
	OnHost func(path string) bool
	// HostCache returns the host's ld.so.cache, by which libraries outside the whitelist are found. It may be nil.
	HostCache func() []byte
	// Workers is how many files are searched at once, 2 when 0.
	Workers int
	Limits  Limits
}

// Limits bound a report and the work for it. A zero stands for the default.
type Limits struct {
	// List is how many entries of each list, and of each Belongs in it, are kept: 1000.
	List int
	// TextBytes of a text are searched for paths of the host: 4 MiB. FileBytes of any file are searched for stores and
	// build directories: 4 GiB.
	TextBytes, FileBytes int64
	// FilePaths is how many different paths of one file are told apart: 4096.
	FilePaths int
}
