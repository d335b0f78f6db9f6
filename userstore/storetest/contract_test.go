package storetest

import (
	"testing"

	"github.com/signet-go/signet/internal/conformance/kittest"
)

// The sentences that failures print must be those of the comments.
func TestSentences(t *testing.T) {
	kittest.Sentences(t, "storetest.go", "../userstore.go", "../factor.go")
}
