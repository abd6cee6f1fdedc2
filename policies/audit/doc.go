// Package audit is the record of one run: its types, its file format (audit.jsonl.zst), the JSON document that people and
// programs read, and what can be computed from both: summaries, differences, explanations. It is pure: it reads from and
// writes to what it is given, and knows nothing of jails or stores.
package audit
