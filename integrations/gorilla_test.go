package integrations

import (
	"testing"

	"github.com/gorilla/mux"
	"github.com/stretchr/testify/require"
)

func TestGorillaServesTheShop(t *testing.T) {
	requireShop(t, serve(t, gorillaRouter(newAuth(t))))
}

func TestGorillaRedirectsUnlessItSkipsCleaning(t *testing.T) {
	auth := newAuth(t)
	r := mux.NewRouter()
	r.PathPrefix("/auth/").Handler(auth.Handler("/auth"))
	require.Equal(t, 301, send(t, "POST", serve(t, r)+"//auth/login", johnLogin).StatusCode)
	require.Equal(t, 404, send(t, "POST", serve(t, gorillaRouter(auth))+"//api/v1/auth/login", johnLogin).StatusCode)
}
