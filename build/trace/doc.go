// Package trace compares what two runs of a build did: which files they asked for, and which commands they ran. It is pure: audits
// come in, a Difference goes out. What makes a trace, and what differences mean for a build, is not decided here.
package trace
