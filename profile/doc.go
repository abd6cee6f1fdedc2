// Package profile keeps profiles: numbered generations of a symlink tree over artifacts, one of which is current. A
// generation never changes once it was made, and one rename makes another one current.
//
//	<root>/profiles/<name>/current                       -> generations/<n>/tree
//	<root>/profiles/<name>/generations/<n>/tree/         links to realizations/<rid>/out/...
//	<root>/profiles/<name>/generations/<n>/generation.json
//	<root>/profiles/<name>/lock                          names who is changing the profile
//	<root>/profiles/.lock                                names who is making a generation current
//
// No number is used twice: who deletes a generation leaves its empty directory. What exists in the store, and where public
// paths lead, is settled in profile/public; which links are made is decided in profile/links.
package profile
