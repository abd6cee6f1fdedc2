package main

// code is what a stable error code means. A code never changes its meaning.
type code struct {
	exit  int
	title string
	// text tells what it means, what usually causes it and what to do.
	text string
}

var codes = map[string]code{
	"HJ0001": {exitOther, "something else went wrong", `
The message is the system's own answer, with the object that it is about. Usual causes are a file that is not there, a
permission, or a program that is not installed.`},
	"HJ0002": {exitUsage, "the command line means nothing", `
A verb, flag or argument is unknown or missing. "hdjail VERB --help" begins with examples.`},
	"HJ0003": {exitInterrupted, "interrupted", `
SIGINT or SIGTERM ended the run. Every jail was killed; nothing half made is in the store, and what was built before stays.
A second signal ends hdjail without waiting; the next run cleans up after it.`},

	"HJ0010": {exitSpec, "the spec is invalid", `
A key is unknown, given twice or of the wrong type, a file that it refers to is not there, or dependencies form a circle. The
place is that of the mistake, as file:line:column. "hdjail schema spec" prints a JSON Schema that editors check specs with.`},
	"HJ0011": {exitSpec, "a host package is not installed", `
host.packages lists a name that no installed package has or provides. The nearest installed names are in the help line. Install
the package with the package manager of the distribution, or correct the name. hdjail installs nothing itself.`},
	"HJ0012": {exitSpec, "there is no such policy", `
policy: names one of the policies that come with hdjail.`},
	"HJ0013": {exitSpec, "a matcher cannot be read", `
match: and --match take filters and one chooser, joined by "|". Filters are clean and quorum(k); choosers are only (the default),
some(n), latest(n), all, exact(ID, ...), best(FILE, top n) and script(FILE). See docs/spec.md, and quote them for the shell:
--match 'train=clean|latest(3)'.`},
	"HJ0014": {exitSpec, "a reference leads nowhere", `
A reference like ${dep.ZLIB.promise:lib/libz.so} asks for what is not there: a dependency of another NAME, a path that is not
promised, a key or file that does not exist, or more than a scalar. docs/spec.md lists what can be asked. A dollar sign before { is
written $$. "hdjail lens" asks the same of a store.`},

	"HJ0020": {exitFetch, "no place has a source", `
Every mirror and URL was asked, in order, and what each answered is listed. A partial download is kept and continued the next
time. Add another URL to the spec (that changes no identity), give --mirror DIR|URL, or "hdjail source add FILE".`},
	"HJ0021": {exitDigest, "a source has the wrong digest", `
What came from the named place is not what the spec promises. Nothing of it was kept. Either the digest in the spec is of another
version, or the file was changed or damaged on its way. Never correct a digest without knowing why it differs.`},
	"HJ0022": {exitFetch, "a source is not in the store", `
The store lacks it, and nobody could be asked: there are no urls, or --offline forbids the network. "hdjail fetch SPEC" brings
all sources of a spec and of its dependencies, for example on a login node.`},
	"HJ0023": {exitFetch, "a program that fetches is not installed", `
git: sources need git, and debsrc: URLs need apt-get. The help line names what to install.`},
	"HJ0024": {exitFetch, "the host's archives lack a file of a source package", `
A URL debsrc:PACKAGE/FILE asks the archives that the host's apt is configured with. The package has no such file there, perhaps
because the distribution has another version; what it has is in the help line.`},
	"HJ0025": {exitSpec, "a digest cannot be read", `
A source is named as sha256: or blake3: and 64 lower-case hexadecimal digits, or git: and the 40 of a commit.`},
	"HJ0026": {exitBuild, "an archive breaks a rule", `
A member is named so that it would be unpacked elsewhere, passes through a symbolic link, is a device, comes twice, or the
archive is damaged or far too large. Nothing outside the build's directory was written. "unpack: none" places it as it is.`},

	"HJ0030": {exitBuild, "a build failed", `
Its script ended with another status than 0, or by a signal. The last lines of its log are printed; "hdjail log --failed" has
all of it. --keep-failed keeps the directories, and "hdjail shell --failed" opens the same jail with a terminal. A command that is
"not found" is usually missing from host.packages: in modes hide and fail, what is not listed does not exist.`},
	"HJ0031": {exitIllegal, "a build asked for files outside its whitelist", `
In mode fail such an attempt fails the build. Add the packages that own the files to host.packages, depend on artifacts that
have them, or build in mode hide, where attempts are only recorded.`},
	"HJ0032": {exitBuild, "a promise was not kept", `
The script ended well, but its output lacks a path that promises: lists. Everything that is missing is listed. Nothing was
registered.`},
	"HJ0033": {exitBuild, "an output cannot be kept", `
A build has to put something into $ARTIFACT. Files, directories and symbolic links are kept; devices, pipes, sockets, set-uid
programs and links out of the artifact and its dependencies are not.`},
	"HJ0034": {exitBuild, "a build took too long", `
It reached limits.wall, or printed nothing for limits.silence. Raise the limit in the spec, which changes no identity.`},
	"HJ0035": {exitBuild, "a build reached a limit", `
The memory, processes, output or log of a build are bounded by limits: in the spec, or by the defaults. Raising one changes no
identity.`},
	"HJ0036": {exitOther, "there is no realization, and none may be built", `
Build it first: hdjail build SPEC.`},
	"HJ0037": {exitOther, "a derivation has several realizations", `
A build that is not deterministic gave different results, and the matcher "only" accepts one. Another matcher chooses: latest, best,
exact; "hdjail show SPEC" lists what there is. A dependency that is not declared with many: true takes exactly one.`},

	"HJ0038": {exitIncomplete, "a record is incomplete", `
Something may be missing from the record of accesses, and the reasons are listed. The result is registered, unless --strict was
given. A supervisor that was killed, or a disk that was full, are usual causes; run the build again.`},

	"HJ0040": {exitHost, "the host lacks a feature", `
The kernel, or whoever administers this machine, does not offer what a jail is made of. The help line says which setting changes
that. "hdjail doctor" tries every feature and lists the fix for each. hdjail never runs a build without its jail instead.`},
	"HJ0041": {exitOther, "a jail could not be set up", `
No build ran. The phase in the message says how far it came. "hdjail doctor" tries what jails need, one by one.`},
	"HJ0042": {exitOther, "a command could not be started in the jail", `
The interpreter or command is not in the jail, or is not executable there. Add the package that owns it to host.packages.
"hdjail run" ends with 127 for one that is not there and 126 for one that is not executable.`},
	"HJ0043": {exitSpec, "two things want one place in the jail", `
A whitelisted path, a dependency or a directory of the jail lie in one another's way. "hdjail build --dry-run" prints the mount
table.`},

	"HJ0050": {exitOther, "the store cannot be written", `
Its directory belongs to somebody else, or is on a read-only file system. --store DIR or HDJAIL_STORE names another one; the
default is /var/lib/hdjail for root and ~/.local/share/hdjail for everybody else.`},
	"HJ0051": {exitOther, "no space is left", `
The file system is full, or a quota is used up. Nothing half-written is in the store: what was being built is built again, or found
whole, by the next command that has space. "hdjail gc" frees what no profile, pin or running build refers to.`},
	"HJ0052": {exitOther, "the store does not have it", `
No derivation, realization, build record or log of the store is meant. "hdjail list" shows what there is.`},
	"HJ0053": {exitUsage, "an ID is ambiguous or malformed", `
An ID has 32 characters, a-z and 2-7; the beginning of one is enough if only one begins so.`},
	"HJ0054": {exitOther, "a directory above the store cannot be trusted", `
Another user could replace a directory on the way to the store, and so everything in it. Take that permission away, or keep the
store somewhere else.`},
	"HJ0055": {exitOther, "the store is of a newer hdjail", `
A newer version has changed the layout of this store. Use that version.`},
	"HJ0056": {exitLocked, "another process has the lock", `
Somebody else builds the same derivation, fetches the same source or changes the same profile. Without --lock-timeout hdjail
waits for as long as the other lives.`},
	"HJ0057": {exitOther, "something in the store is damaged", `
A file of the store is not what its name claims. Delete what the message names; it can be built or fetched again.`},
	"HJ0058": {exitOther, "a snapshot of a host package is gone", `
The snapshot was removed, and the package has been upgraded since, so this derivation cannot be built here any more. Resolving the
spec again gives a derivation with the package as it is now.`},

	"HJ0060": {exitOther, "two artifacts want one path in a profile", `
Both, and the rule that would settle it, are in the message. Link rules stand under links: in a spec; see docs/spec.md. The profile
is as it was.`},
	"HJ0061": {exitOther, "there is no such profile, generation or artifact", `
"hdjail profile list" shows the profiles, "hdjail profile list PROFILE" the generations of one.`},
	"HJ0062": {exitUsage, "a name is not allowed", `
Names of profiles and artifacts have letters, digits and _ + - . only, and no dot first.`},
	"HJ0063": {exitSpec, "a link rule cannot be obeyed", `
A rule under links: has a pattern or an action that means nothing here; see docs/spec.md.`},
	"HJ0064": {exitOther, "a public path leads to another realization", `
What is compiled into a program is the public path of each dependency, and on the host one such path leads to one realization only.
Such a path is not moved while the current generation of another profile needs it where it is; the message says which, and through
what. Jails show the exact realization, so "hdjail build" and "hdjail shell" have no such limit.`},
	"HJ0065": {exitOther, "two things were built with different realizations of one dependency", `
A profile, and on the host a program, can have only one. The message names the dependency, the two realizations and what they come
through. What is built in one plan always agrees.`},

	"HJ0085": {exitOther, "a matcher is not satisfied", `
The matcher of a derivation takes none of the realizations that there are, and builds did not help: what was built, what there is and
why each was not taken is listed. A matcher is asked once more after the builds that it wanted, and never a third time.`},
	"HJ0086": {exitOther, "the script of a matcher gave no answer", `
The script of script(FILE) has to be there, to end with status 0 and to print {"select": [ID, ...]}, {"build": N} with N from 1 to 1000,
or {"error": TEXT}. It reads the candidates as JSON from standard input, and sees their trees below /candidates. What it printed to
standard error is shown.`},

	"HJ0070": {exitOther, "an audit cannot be read", `
What was given is no audit, or one that was changed or damaged: a line is not what the format says, or the digest at its end is that
of another content. An audit is what hdjail keeps of a run, or what "hdjail audit --json" printed.`},
	"HJ0071": {exitOther, "an audit has another format", `
It was written by a version of hdjail whose audits have another form. Read it with that version, or with a newer one.`},
	"HJ0072": {exitIncomplete, "an audit ends early", `
The end of the file is missing, so accesses may be missing, too. What is there is shown, and counts as an incomplete record. Usual
causes are a full disk, a copy that was interrupted, or an hdjail that was killed.`},

	"HJ0080": {exitOther, "a root cannot be read", `
A profile, a pin, a record of a link or a lease is damaged, may not be read, or names what the store does not have any more. What it
keeps is not known, so nothing was removed. A root is never taken for dead for that. "hdjail list --roots" shows all that can be
read, and which are broken; "hdjail unpin" removes pins and records of links that are damaged, too.`},
	"HJ0081": {exitUsage, "a pin of that name keeps something else", `
Names of pins are used once. "hdjail list --roots" shows what each keeps, "hdjail unpin NAME" gives a name back.`},
	"HJ0082": {exitDigest, "something in the store is not what its name says", `
A disk, a copy or a person has changed a file of the store. "hdjail verify --repair" moves it into quarantine/ and builds or fetches
it again. For a source the store knows only the digest: give the spec that has its URLs to "hdjail fetch", a directory that has it
to --mirror, or the file to "hdjail source add".`},
	"HJ0090": {exitOther, "an archive breaks a rule", `
It is no archive of hdjail, is damaged or cut off, or holds what no archive may: a member that is unsorted, twice or unexpected, a
device, a link out of its artifact, or far more than its own size. The rule is in the message. Nothing of it was stored. One that
is as large as it says is accepted with --max-bytes.`},
	"HJ0091": {exitDigest, "something in an archive has the wrong digest", `
A derivation, tree, realization or source is not what it claims to be. Nothing of the archive was stored. Either it was changed or
damaged on its way, or the store that it is from is damaged.`},
	"HJ0092": {exitOther, "two stores have different prefixes", `
The prefix is part of every ID and of every path that an artifact knows, so stores exchange realizations only if theirs are equal. It is
the store's directory, unless --prefix or HDJAIL_PREFIX says otherwise.`},
	"HJ0093": {exitOther, "an archive leaves out what the store lacks", `
It was packed with --have, for somebody who has the realization that is named. Unpack an archive that has it first, or pack again
without --have.`},
	"HJ0094": {exitOther, "a realization is inconsistent", `
It was built with two different results of one derivation, which the message names, each through another dependency. A plan never does
that, so the archive was not made by one. Nothing of it was stored.`},
	"HJ0095": {exitOther, "an archive is of a newer hdjail", `
A newer version has changed the form of archives. Use that version.`},
	"HJ0074": {exitSpec, "a spec is no longer what was locked", `
With --locked nothing is resolved anew, and this spec, or one that it depends on, resolves to another derivation than the lock file
has. The causes are listed, from what is locked to what was found. "hdjail lock SPEC" locks it as it is now. Host packages do not cause
this: they are taken from the lock file, though a spec's list of them must not change.`},
	"HJ0075": {exitUsage, "there is no lock file, or it does not have the target", `
"hdjail lock SPEC..." makes hdjail.lock in the working directory; --lock-file names another one.`},
	"HJ0076": {exitUsage, "a lock file cannot be read", `
It is cut off, is no JSON of the form, or contradicts itself: every identity in it is computed again. Take the last good one from your
version control, or lock again.`},
	"HJ0077": {exitUsage, "a lock file has another format", `
It was written by a version of hdjail whose lock files have another form. Use that version, or lock again.`},
	"HJ0078": {exitDiffer, "a locked result is missing, and builds gave another", `
The store does not have the realization that the lock file names, and what it has instead, or what was built just now, is another tree.
The build is not deterministic. Bring the locked one from a store that has it, or lock what there is. "hdjail diff A B" shows what
differs between two results, "hdjail lock verify A B" whether the same commands were run.`},
	"HJ0079": {exitOther, "one thing does not depend on another", `
No way leads there: neither a dependency, at any depth, nor a pinned host package of one has that name or ID.`},
	"HJ0083": {exitIllegal, "the daemon refused a request", `
The policy of the site does not allow it, whoever runs this program: a mode without containment, a path of the host that the site
has not listed under daemon: host_paths:, a store that is not the daemon's, or a caller whom no rule names. The refusal is in
the log of the site. "hdjail build --no-daemon" builds with your own rights in a store of your own.`},
	"HJ0084": {exitIllegal, "a quota is used up", `
The site bounds the bytes that the results, sources and logs of one user take in the daemon's store. What is removed from the store
counts no more.`},
	"HJ0087": {exitAgain, "the daemon has no room now", `
Too many jobs wait, too many clients are connected, or the daemon was stopped. Try again later.`},
	"HJ0088": {exitOther, "the daemon went away", `
The connection to the daemon ended before it had answered. What it had built is in its store. Jobs end with the daemon; those of a
client that went end, too, unless they were detached.`},
	"HJ0089": {exitDigest, "the log of the site is not as it was written", `
Each line holds the hash of the one before it, and a second file tells how long the log is. The first line that does not fit is named:
it, or the one before it, was changed, removed, moved or cut off. A machine that lost power may have lost the last lines.`},
}
