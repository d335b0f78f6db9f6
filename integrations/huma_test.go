package integrations

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestHumaServesTheShop(t *testing.T) {
	requireShop(t, serve(t, humaAPI(newAuth(t))))
}

func TestHumaShowsItsDescriptionToEverybody(t *testing.T) {
	got := get(t, serve(t, humaAPI(newAuth(t)))+"/api/v1/openapi.json", "")
	require.Equal(t, 200, got.StatusCode)
	require.Contains(t, got.json["paths"], "/admin/users")
}
