package leaks

import (
	"bytes"
	"encoding/binary"
)

// The formats of /etc/ld.so.cache (glibc, sysdeps/generic/dl-cache.h): the new one, which may follow an old one.
const (
	oldCacheMagic = "ld.so-1.7.0"
	newCacheMagic = "glibc-ld.so.cache1.1"
	oldEntrySize  = 12
	newHeaderSize = 48
	newEntrySize  = 24
	maxCacheNames = 1 << 18
	maxCacheBytes = 32 << 20
)

// linkerCache tells where libraries are, by name and in the order in which the dynamic linker tries them. Entries for
// particular processors are left out.
type linkerCache map[string][]string

// decodeCache reads a cache. What is damaged is left out; what is no cache is empty.
func decodeCache(b []byte) linkerCache {
	if len(b) > 16 && bytes.HasPrefix(b, []byte(oldCacheMagic)) {
		skip := 16 + uint64(binary.NativeEndian.Uint32(b[12:]))*oldEntrySize
		skip = (skip + 7) &^ 7
		if skip >= uint64(len(b)) {
			return nil
		}
		b = b[skip:]
	}
	if len(b) < newHeaderSize || !bytes.HasPrefix(b, []byte(newCacheMagic)) {
		return nil
	}
	var order binary.ByteOrder = binary.LittleEndian
	if b[28]&3 == 3 {
		order = binary.BigEndian
	}
	cache := linkerCache{}
	text := func(offset uint32) string {
		if uint64(offset) >= uint64(len(b)) {
			return ""
		}
		rest := b[offset:min(uint64(len(b)), uint64(offset)+maxInterpreter)]
		end := bytes.IndexByte(rest, 0)
		if end < 0 {
			return ""
		}
		return string(rest[:end])
	}
	entries := b[newHeaderSize:]
	for range min(order.Uint32(b[20:]), maxCacheNames) {
		if len(entries) < newEntrySize {
			break
		}
		e := entries[:newEntrySize]
		entries = entries[newEntrySize:]
		if order.Uint64(e[16:]) != 0 { // hardware capabilities
			continue
		}
		if key, value := text(order.Uint32(e[4:])), text(order.Uint32(e[8:])); key != "" && value != "" {
			cache[key] = append(cache[key], value)
		}
	}
	return cache
}
