package event_test

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/event"
)

func TestAnEventIsLoggedWithWhatIsKnown(t *testing.T) {
	var out strings.Builder
	logger := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	e := event.Event{Kind: event.LoginFailed, Time: time.Now(), Subject: "1", Address: "192.0.2.1", Reason: "wrong password"}
	logger.LogAttrs(t.Context(), e.Level(), "signet", e.Attrs()...)
	require.Contains(t, out.String(), `level=INFO msg=signet event=login_failed user=1 address=192.0.2.1 reason="wrong password"`)
	require.NotContains(t, out.String(), "session=")
	out.Reset()
	logger.Info("x", "what", e)
	require.Contains(t, out.String(), "what.event=login_failed what.user=1")
}

func TestLevels(t *testing.T) {
	for kind, want := range map[event.Kind]slog.Level{
		event.Theft: slog.LevelWarn, event.StoreLost: slog.LevelWarn, event.LoginThrottled: slog.LevelWarn,
		event.Refreshed: slog.LevelDebug, event.LoginOK: slog.LevelInfo, "another": slog.LevelInfo,
	} {
		require.Equal(t, want, event.Event{Kind: kind}.Level(), kind)
	}
}
