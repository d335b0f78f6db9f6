package integrations

import (
	"net/http"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet"
)

func init() { gin.SetMode(gin.TestMode) }

func TestGinServesTheShop(t *testing.T) {
	requireShop(t, serve(t, ginEngine(newAuth(t))))
}

func TestGinRunsTheRouteBehindAWrappedRequireAuth(t *testing.T) {
	auth := newAuth(t)
	ran := 0
	route := func(c *gin.Context) { ran++; c.String(http.StatusOK, "the secret of the route") }
	noop := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	engine := gin.New()
	engine.GET("/trap", gin.WrapH(auth.RequireAuth(noop)), route)
	engine.GET("/right", ginRequireAuth(auth), route)
	url := serve(t, engine)

	trapped := get(t, url+"/trap", "")
	require.Equal(t, 401, trapped.StatusCode, "it looks guarded")
	require.Equal(t, 1, ran, "and the route has run")
	require.Contains(t, trapped.body, "the secret of the route")

	requireRefused(t, get(t, url+"/right", ""), 401, "missing_token", `Bearer realm="api"`)
	require.Equal(t, 1, ran)
	require.Equal(t, 200, get(t, url+"/right", accessToken(t, auth, "john@mail.com", "changeme")).StatusCode)
	require.Equal(t, 2, ran)
}

func TestGinHasTheSubjectInTheContextOfTheRequest(t *testing.T) {
	auth := newAuth(t)
	for fallback, want := range map[bool]string{false: "", true: "1"} {
		engine := gin.New()
		engine.ContextWithFallback = fallback
		engine.GET("/", ginRequireAuth(auth), func(c *gin.Context) {
			c.String(http.StatusOK, "%s %s", signet.Subject(c), signet.Subject(c.Request.Context()))
		})
		got := get(t, serve(t, engine), accessToken(t, auth, "john@mail.com", "changeme"))
		require.Equal(t, want+" 1", got.body)
	}
}
