// Package match has the matchers: pure functions that pick which realizations of a derivation are used, or ask for more
// builds. Candidates come in, an Answer goes out. What a realization does not say of itself is asked of Facts, which the
// caller brings: nothing is opened or run here.
//
// The text of a matcher is filters and then one chooser, joined by "|". A filter alone is followed by "only".
package match
