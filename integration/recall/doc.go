// Command recall is the referee of hdjail's observers. It reads what strace saw inside a traced jail and the audit of that
// same run, and computes how much of the one is in the other: recall, hidden recall, agreement and precision, as
// docs/design.md defines them. It shares no code with hdjail, so that no fault can hide in both: parser, normal form of paths
// and judgement are its own, and the standard library is all it imports.
//
//	recall -trace TRACE -audit AUDIT [-cwd DIR] [-own DIR]...
//
// It prints a table, then the entries that differ, the most frequent first, and ends with 1 if a gate was missed.
package main
