package signet_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet"
)

func TestContextWithClaims(t *testing.T) {
	claims := &signet.Claims{Subject: "7", Roles: []string{"admin"}}
	ctx := signet.ContextWithClaims(t.Context(), claims)
	claims.Subject, claims.Roles[0] = "changed", "changed"
	require.Equal(t, "7", signet.Subject(ctx))
	got, ok := signet.ClaimsFromContext(ctx)
	require.True(t, ok)
	require.True(t, got.HasRole("admin"))
	got.Roles[0] = "changed"
	again, _ := signet.ClaimsFromContext(ctx)
	require.True(t, again.HasRole("admin"), "every caller has its own")

	nobody := signet.ContextWithClaims(ctx, nil)
	require.Empty(t, signet.Subject(nobody))
	_, ok = signet.ClaimsFromContext(nobody)
	require.False(t, ok)
	_, ok = signet.ClaimsFromContext(t.Context())
	require.False(t, ok)

	type other struct{}
	derived, cancel := context.WithTimeout(context.WithValue(ctx, other{}, 1), time.Minute)
	defer cancel()
	require.Equal(t, "7", signet.Subject(derived))
	require.Equal(t, 1, derived.Value(other{}))
}

func TestRolesAndScopesOfClaims(t *testing.T) {
	c := &signet.Claims{Roles: []string{"staff"}, Scopes: []string{"a", "b"}}
	require.True(t, c.HasRole("staff"))
	require.True(t, c.HasRole("admin", "staff"))
	require.False(t, c.HasRole("admin"))
	require.False(t, c.HasRole(""))
	require.True(t, c.HasScope("a"))
	require.True(t, c.HasScope("a", "b"))
	require.False(t, c.HasScope("a", "c"))
	require.False(t, c.HasScope("c", "a"))
}

// claimsOf verifies a token with these additional claims.
func claimsOf(t *testing.T, more string) *signet.Claims {
	t.Helper()
	c := newClock()
	claims, err := newVerifier(t, c).Verify(t.Context(), sign(goodHeader, goodPayload(c, more)))
	require.NoError(t, err)
	return claims
}

// A claim whose name differs in case is another claim, because at some issuers users can name claims.
func TestCustomClaimsTakeExactNames(t *testing.T) {
	type address struct {
		City string `json:"city"`
	}
	type embedded struct {
		Level int `json:"level"`
	}
	type custom struct {
		Subject string            `json:"sub"`
		Tenant  string            `json:"tenant"`
		Roles   []string          `json:"roles"`
		Home    *address          `json:"home"`
		Others  []address         `json:"others"`
		Named   map[string]string `json:"named"`
		When    time.Time         `json:"when"`
		Any     any               `json:"any"`
		Skipped string            `json:"-"`
		embedded
	}
	claims := claimsOf(t, `,"tenant":"a","roles":["customer"],"Tenant":"b","ROLES":["admin"],"SUB":"1","TENANT":null,
		"home":{"CITY":"Rome","city":"Ulm","City":"Bonn"},"others":[{"city":"Ulm","City":"Bonn"},{"City":"Bonn"}],
		"named":{"a":"1","A":"2"},"when":"2026-01-02T03:04:05Z","any":{"X":1,"x":2},"-":"x","Skipped":"x","level":3,"LEVEL":4,"ten\u0061nt2":"c"`)
	got, err := signet.CustomClaims[custom](claims)
	require.NoError(t, err)
	require.Equal(t, custom{Subject: "1", Tenant: "a", Roles: []string{"customer"}, Home: &address{"Ulm"}, Others: []address{{"Ulm"}, {}},
		Named: map[string]string{"a": "1", "A": "2"}, When: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		Any: map[string]any{"X": 1.0, "x": 2.0}, embedded: embedded{3}}, got)

	pointer, err := signet.CustomClaims[*custom](claims)
	require.NoError(t, err)
	require.Equal(t, "a", pointer.Tenant)
	all, err := signet.CustomClaims[map[string]any](claims)
	require.NoError(t, err)
	require.Equal(t, "b", all["Tenant"])

	only, err := signet.CustomClaims[custom](claimsOf(t, `,"TENANT":"b"`))
	require.NoError(t, err)
	require.Empty(t, only.Tenant, "nor does it stand in for a claim that is absent")

	type untagged struct{ Tenant string }
	one, err := signet.CustomClaims[untagged](claimsOf(t, `,"tenant":"a"`))
	require.NoError(t, err)
	require.Equal(t, "a", one.Tenant)
	_, err = signet.CustomClaims[untagged](claims)
	require.ErrorContains(t, err, "differ in case only")
}

// A claim never fills a field with a tag that differs from it in case, also if it fills another field.
func TestCustomClaimsBesideATag(t *testing.T) {
	type Base struct{ Tenant string }
	type embedded struct {
		Tenant string `json:"tenant"`
		Base
	}
	type beside struct {
		Name   string `json:"tenant"`
		Tenant string
	}
	for payload, want := range map[string][2]string{`,"TENANT":"b"`: {"", "b"}, `,"tenant":"a"`: {"a", ""}, `,"TENANT":"b","tenant":"a"`: {"a", "b"}} {
		first, err := signet.CustomClaims[embedded](claimsOf(t, payload))
		require.NoError(t, err)
		require.Equal(t, want, [2]string{first.Tenant, first.Base.Tenant}, payload)
		second, err := signet.CustomClaims[beside](claimsOf(t, payload))
		require.NoError(t, err)
		require.Equal(t, want, [2]string{second.Name, second.Tenant}, payload)
	}
}

// A claim fills the field whose name is exactly its own, before one whose name differs in case.
func TestCustomClaimsOfFieldsThatDifferInCase(t *testing.T) {
	type Base struct{ ID string }
	type Other struct{ ID string }
	type embedded struct {
		Base
		Id string
	}
	type beside struct{ ID, Id string }
	type both struct { // encoding/json fills neither ID, so the claim "ID" is one for Id
		Base
		Other
		Id string
	}
	type tagged struct {
		Base
		Other
		Id string `json:"id"`
	}
	for payload, want := range map[string][2]string{`,"ID":"a"`: {"a", ""}, `,"Id":"b"`: {"", "b"}, `,"Id":"b","ID":"a"`: {"a", "b"}} {
		first, err := signet.CustomClaims[embedded](claimsOf(t, payload))
		require.NoError(t, err)
		require.Equal(t, want, [2]string{first.ID, first.Id}, payload)
		second, err := signet.CustomClaims[beside](claimsOf(t, payload))
		require.NoError(t, err)
		require.Equal(t, want, [2]string{second.ID, second.Id}, payload)
	}
	third, err := signet.CustomClaims[both](claimsOf(t, `,"ID":"a"`))
	require.NoError(t, err)
	require.Equal(t, both{Id: "a"}, third)
	fourth, err := signet.CustomClaims[tagged](claimsOf(t, `,"ID":"a"`))
	require.NoError(t, err)
	require.Equal(t, tagged{}, fourth)
}

// A field hides one of an embedded struct with the same name, as in encoding/json.
func TestCustomClaimsWithHiddenFields(t *testing.T) {
	type base struct {
		Org struct{ ID string } `json:"org"`
	}
	type inner struct{ Level int }
	type mine struct {
		base
		inner `json:"inner"`
		Org   struct{ ID, Name string } `json:"org"`
	}
	got, err := signet.CustomClaims[mine](claimsOf(t, `,"org":{"ID":"1","Name":"acme"},"inner":{"Level":3}`))
	require.NoError(t, err)
	require.Equal(t, "acme", got.Org.Name)
	require.Equal(t, "1", got.Org.ID)
	require.Equal(t, 3, got.Level)
}

// White space before the payload, and a struct that embeds itself, change nothing.
func TestCustomClaimsOfOddPayloadsAndTypes(t *testing.T) {
	type Node struct {
		*Node         // as in a list
		Tenant string `json:"tenant"`
	}
	c := newClock()
	v := newVerifier(t, c)
	for _, space := range []string{"", " ", "\n\t"} {
		claims, err := v.Verify(t.Context(), sign(goodHeader, space+goodPayload(c, `,"tenant":"a","Tenant":"b","TENANT":"c"`)))
		require.NoError(t, err)
		got, err := signet.CustomClaims[struct {
			Tenant string `json:"tenant"`
		}](claims)
		require.NoError(t, err)
		require.Equal(t, "a", got.Tenant, "%q", space)
		own, err := signet.CustomClaims[Node](claims)
		require.NoError(t, err)
		require.Equal(t, "a", own.Tenant)
	}
}

func TestCustomClaimsOfNoToken(t *testing.T) {
	for name, claims := range map[string]*signet.Claims{"nil": nil, "made by the host": {Subject: "1"}} {
		_, err := signet.CustomClaims[struct{}](claims)
		require.ErrorContains(t, err, "not from a verified token", name)
	}
	_, err := signet.CustomClaims[int](claimsOf(t, ""))
	require.Error(t, err)
}

// RFC 9110 section 5.5: only spaces and tabs may surround a header value. Other white space belongs to the value.
func TestOtherWhiteSpaceInTheHeaderIsAPartOfTheToken(t *testing.T) {
	s := newService(t)
	access := s.login(t).AccessToken
	guard := s.RequireAuth(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(200) }))
	for value, want := range map[string]int{" \tBearer " + access + " \t": 200, "Bearer " + access + "\u00a0": 401, "\u0085Bearer " + access: 401,
		"Bearer " + access + "\u2003": 401, "Bearer\u00a0" + access: 401, "Bearer " + access + "\v": 401, "Bearer " + access + "\f": 401, "Bearer \u3000": 401} {
		req := httptest.NewRequest("GET", "/", nil)
		req.Header["Authorization"] = []string{value}
		rec := httptest.NewRecorder()
		guard.ServeHTTP(rec, req)
		require.Equal(t, want, rec.Code, "%q", value)
	}
}
