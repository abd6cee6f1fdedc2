package hostpkgs

import (
	"io/fs"
	"path"
	"path/filepath"
	"strings"
)

// madeFile is what a maintainer script makes, so that no list of files has it. Pattern is in the form of path.Match; a
// folder counts with all that is in it.
type madeFile struct{ Package, Pattern, Source string }

// madeFiles is not complete: it has what builds were seen to need. Compiled Python (*.pyc) is left out on purpose, because
// its content depends on times.
var madeFiles = []madeFile{
	{"ca-certificates", "/etc/ssl/certs", "postinst, update-ca-certificates(8)"},
	{"ca-certificates", "/etc/ca-certificates.conf", "postinst, debconf"},
	{"ca-certificates-java", "/etc/ssl/certs/java", "postinst, trigger on ca-certificates"},
	{"ghc", "/var/lib/ghc/package.conf.d/package.cache", "trigger, ghc-pkg recache"},
	{"libc-bin", "/etc/ld.so.conf", "postinst of some releases"},
	{"libc6", "/usr/lib/*/gconv/gconv-modules.cache", "postinst, iconvconfig(8)"},
	{"libgdk-pixbuf-2.0-0", "/usr/lib/*/gdk-pixbuf-2.0/*/loaders.cache", "trigger, gdk-pixbuf-query-loaders(1)"},
	{"libglib2.0-0", "/usr/lib/*/gio/modules/giomodule.cache", "trigger, gio-querymodules(1)"},
	{"libglib2.0-0", "/usr/share/glib-2.0/schemas/gschemas.compiled", "trigger, glib-compile-schemas(1)"},
	{"libglib2.0-0t64", "/usr/lib/*/gio/modules/giomodule.cache", "as libglib2.0-0"},
	{"libglib2.0-0t64", "/usr/share/glib-2.0/schemas/gschemas.compiled", "as libglib2.0-0"},
	{"locales", "/usr/lib/locale/locale-archive", "postinst, locale-gen(8)"},
	{"sgml-base", "/etc/sgml", "trigger, update-catalog(8)"},
	{"sgml-base", "/var/lib/sgml-base", "trigger, update-catalog(8)"},
	{"shared-mime-info", "/usr/share/mime", "trigger, update-mime-database(1)"},
	{"tex-common", "/var/lib/texmf", "trigger, updmap-sys and fmtutil-sys(1)"},
	{"xml-core", "/etc/xml", "postinst of those who use it, update-xmlcatalog(8)"},
	{"xml-core", "/var/lib/xml-core", "postinst of those who use it, update-xmlcatalog(8)"},
}

// madePatterns returns the patterns of what is made for a package.
func madePatterns(name string) []string {
	var patterns []string
	for _, m := range madeFiles {
		if m.Package == name {
			patterns = append(patterns, m.Pattern)
		}
	}
	return patterns
}

// made returns the paths on the host that match what is made for a package.
func (h *Host) made(name string) []string {
	var found []string
	for _, pattern := range madePatterns(name) {
		matches, _ := filepath.Glob(filepath.Join(h.cfg.Root, pattern)) // errs on a bad pattern only
		for _, match := range matches {
			found = append(found, h.inRoot(match))
		}
	}
	return found
}

// MadeFor returns the packages whose maintainer scripts make a file of the host, by its real path, as far as hostpkgs knows:
// those that show it to a build when they are whitelisted. It is pure.
func MadeFor(name string) (packages []string) {
	for _, m := range madeFiles {
		for at := path.Clean(name); at != "/" && at != "."; at = path.Dir(at) {
			if matched, _ := path.Match(m.Pattern, at); matched {
				packages = append(packages, m.Package)
				break
			}
		}
	}
	return packages
}

// expand returns paths and what is below those that are folders. What cannot be listed counts as empty.
func (h *Host) expand(paths []string) []string {
	var all []string
	for _, p := range paths {
		_ = filepath.WalkDir(filepath.Join(h.cfg.Root, p), func(name string, _ fs.DirEntry, err error) error {
			if err == nil {
				all = append(all, h.inRoot(name))
			}
			return nil
		})
	}
	return all
}

// inRoot turns the path of a file below the host's root into its name there.
func (h *Host) inRoot(file string) string {
	return "/" + strings.TrimPrefix(strings.TrimPrefix(file, h.cfg.Root), "/")
}
