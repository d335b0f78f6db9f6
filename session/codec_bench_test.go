package session_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/session"
)

// BenchmarkCodec writes and reads the stored form of a session, as each refresh does.
func BenchmarkCodec(b *testing.B) {
	const now = 1_790_000_000_000
	row := session.Session{ID: session.NewID("user-123456"), UserID: "user-123456", SecretHash: session.HashOf("x"),
		UserAgent: "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
		Address:   "2001:db8::1", Born: session.Version{All: now, User: now}, CreatedAt: now, EndsAt: 2 * now, LastUsedAt: now,
		KeepUntil: now, Current: now + 1, Parent: now, Next: now + 2, SentAt: now, ConfirmedAt: now,
		Ancestors: session.Ancestors{{Generation: now, SupersededAt: now}, {Generation: now, SupersededAt: now}}}
	text, err := row.MarshalJSON()
	require.NoError(b, err)
	b.Run("write", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = row.MarshalJSON()
		}
	})
	b.Run("read", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_ = row.UnmarshalJSON(text)
		}
	})
}
