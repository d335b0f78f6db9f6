package keys_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"log/slog"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/keys"
)

var secret = []byte("Zk8pV3n1QyXr5tB7wLs9Hd2GcJ4mUaEo")

func encode(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

func p256(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return k
}

var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
})

// verifies reports whether one key accepts a signature of another key.
func verifies(t testing.TB, signing, verifying *keys.Key) bool {
	t.Helper()
	signature, err := signing.Sign(t.Context(), []byte("input"))
	require.NoError(t, err)
	return verifying.Verify([]byte("input"), signature)
}

// syncBuffer is a log that a goroutine writes while a test reads it.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func (s *syncBuffer) logger() *slog.Logger { return slog.New(slog.NewTextHandler(s, nil)) }
