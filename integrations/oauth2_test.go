package integrations

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"

	"github.com/signet-go/signet"
	"github.com/signet-go/signet/client"
)

func TestOAuth2TokenSource(t *testing.T) {
	auth := newAuth(t, signet.WithLifetimes(signet.Lifetimes{Access: time.Second}))
	mux := http.NewServeMux()
	mux.Handle("/auth/", auth.Handler("/auth"))
	mux.Handle("/orders", auth.RequireAuth(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
	base := serve(t, mux)
	c, err := client.New(base + "/auth")
	require.NoError(t, err)
	source := tokenSource(t.Context(), c)
	_, err = source.Token()
	require.ErrorIs(t, err, client.ErrSignedOut)

	require.NoError(t, c.Login(t.Context(), "john@mail.com", "changeme"))
	first, err := source.Token()
	require.NoError(t, err)
	hc := &http.Client{Transport: &oauth2.Transport{Source: source}}
	time.Sleep(time.Until(first.Expiry)) // the client has refreshed before the service could refuse the token
	resp, err := hc.Get(base + "/orders")
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusOK, resp.StatusCode)
	second, err := source.Token()
	require.NoError(t, err)
	require.NotEqual(t, first.AccessToken, second.AccessToken)
}
