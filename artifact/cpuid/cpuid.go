// Package cpuid stands in for github.com/klauspost/cpuid/v2 (see replace in go.mod of hdjail), of which zeebo/blake3 asks two
// questions. The original finds out everything about the processor whenever a program starts. In a virtual machine each
// of its some sixty CPUID instructions leaves the guest: 0.4 ms of every start of hdjail, that in each jail included.
package cpuid

import "golang.org/x/sys/cpu"

// FeatureID names an instruction set.
type FeatureID int

// The instruction sets that zeebo/blake3 has code for.
const (
	AVX2 FeatureID = iota
	SSE4           // SSE 4.1
)

// CPUInfo is what is known of the processor.
type CPUInfo struct{}

// CPU is the processor that the program runs on.
var CPU CPUInfo

// Has reports whether the processor, and the operating system, support a feature.
func (CPUInfo) Has(id FeatureID) bool {
	switch id {
	case AVX2:
		return cpu.X86.HasAVX2
	case SSE4:
		return cpu.X86.HasSSE41
	}
	return false
}
