// Package page makes the HTML report of an audit: one file that needs nothing else, and that a browser is told to let
// load nothing. It is pure: it opens nothing and knows nothing of jails or stores.
//
// What it shows comes from a build and may be hostile. The template escapes what is in the markup; everything else is
// data in JSON that the script puts on the page as text. The content security policy lets exactly this script and this
// style sheet work.
package page
