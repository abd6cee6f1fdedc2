// Package rules decides what the daemon does for whom: Authorize is the one place that every request passes. It opens nothing
// and changes nothing; what it needs to know of the host is handed in.
package rules
