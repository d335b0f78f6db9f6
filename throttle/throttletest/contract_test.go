package throttletest

import (
	"testing"

	"github.com/signet-go/signet/internal/conformance/kittest"
	"github.com/signet-go/signet/throttle"
)

// The sentences that failures print must be those of package throttle.
func TestSentences(t *testing.T) {
	kittest.Sentences(t, "contract.go", "../store.go")
}

func TestMemory(t *testing.T) {
	Run(t, func(*testing.T) throttle.Store { return &throttle.Memory{} })
}
