package sessiontest

import (
	"testing"

	"github.com/signet-go/signet/internal/conformance/kittest"
)

// The sentences that failures print must be those of package session.
func TestSentences(t *testing.T) {
	kittest.Sentences(t, "contract.go", "../store.go", "../session.go", "../cutoff.go", "../log.go")
}
