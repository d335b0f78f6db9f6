package safeurl_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/internal/safeurl"
)

// A client of one's own gives up a connection that is silent, and changes nothing of the program's. One of the host stays as it is.
func TestClient(t *testing.T) {
	client, end := safeurl.Rule{}.Client(nil)
	defer end()
	own := client.Transport.(*http.Transport)
	require.NotSame(t, http.DefaultTransport, own)
	require.Positive(t, own.HTTP2.SendPingTimeout)
	require.Less(t, own.HTTP2.SendPingTimeout+own.HTTP2.PingTimeout, 15*time.Second)
	if shared := http.DefaultTransport.(*http.Transport).HTTP2; shared != nil {
		require.Zero(t, shared.SendPingTimeout)
	}
	require.NotNil(t, client.CheckRedirect)

	given := &http.Client{Transport: &http.Transport{}, Timeout: time.Second}
	copied, end := safeurl.Rule{}.Client(given)
	end()
	require.NotSame(t, given, copied)
	require.Same(t, given.Transport, copied.Transport)
	require.Nil(t, given.CheckRedirect)
	require.NotNil(t, copied.CheckRedirect)
}
