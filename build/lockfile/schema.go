package lockfile

import _ "embed"

//go:embed lock.schema.json
var schema []byte

// Schema returns the JSON Schema of a lock file. It is generated from the types of this package; docs/schema has the same text.
func Schema() []byte { return append([]byte(nil), schema...) }
