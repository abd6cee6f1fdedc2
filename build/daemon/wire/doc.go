// Package wire is how a client and the daemon talk over a Unix socket: frames, the descriptors that come with them, and the
// messages in them. What a message may ask for is decided in build/daemon/rules; here it only has to have the right form.
//
// A frame is the length of its body in 4 bytes, big endian, and the body: one JSON object, of which every field is known. A
// frame of a client carries at most one descriptor. The client speaks first, and waits for the reply to each request before
// it sends the next one. After a build or attach request the daemon alone speaks, until it has told how the job ended.
package wire
