package signet_test

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet"
	"github.com/signet-go/signet/keys"
)

// The issuers of docs/issuers.md, word for word: TestSnippets compares them.

func fromEither(own, partners *signet.Verifier, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		claims, err := own.Check(r)
		if errors.Is(err, signet.ErrInvalidToken) && !isOwn(err) {
			first := err
			if claims, err = partners.Check(r); err != nil {
				slog.DebugContext(r.Context(), "nobody accepts the token", "own", first, "partners", err)
			}
		}
		if err != nil {
			signet.WriteError(w, err)
			return
		}
		next.ServeHTTP(w, r.WithContext(signet.ContextWithClaims(r.Context(), claims)))
	})
}

// isOwn reports whether the token was one of the service's own.
func isOwn(err error) bool {
	return errors.Is(err, signet.ErrExpiredToken) || errors.Is(err, signet.ErrRevoked) || errors.Is(err, signet.ErrUserChanged)
}

func keycloak(source keys.Source) signet.TrustedIssuer {
	return signet.TrustedIssuer{
		Issuer:   "https://login.example/realms/shop",
		Keys:     source, // keys.Discover("https://login.example/realms/shop")
		Audience: []string{"orders-api"},
		Types:    []string{"JWT"},
		Require:  map[string]string{"typ": "Bearer"},
		Roles:    [][]string{{"realm_access", "roles"}, {"resource_access", "orders-api", "roles"}},
	}
}

func auth0(source keys.Source) signet.TrustedIssuer {
	return signet.TrustedIssuer{
		Issuer:   "https://shop.eu.auth0.com/", // with the slash
		Keys:     source,                       // keys.Discover("https://shop.eu.auth0.com/")
		Audience: []string{"https://api.shop.example"},
		Types:    []string{"JWT", "at+jwt"},
		Roles:    [][]string{{"https://shop.example/roles"}},
		Scopes:   [][]string{{"scope"}, {"permissions"}},
	}
}

func okta(source keys.Source) signet.TrustedIssuer {
	return signet.TrustedIssuer{
		Issuer:   "https://shop.okta.com/oauth2/default",
		Keys:     source, // keys.Discover("https://shop.okta.com/oauth2/default")
		Audience: []string{"api://default"},
		Types:    []string{""}, // its access tokens have no "typ"
		Roles:    [][]string{{"groups"}},
		Scopes:   [][]string{{"scp"}},
	}
}

func entra(source keys.Source) signet.TrustedIssuer {
	return signet.TrustedIssuer{
		Issuer:   "https://login.microsoftonline.com/8f5e1c2a-0000-4000-8000-000000000001/v2.0",
		Keys:     source, // keys.Discover of the same name
		Audience: []string{"2d4d6f1c-0000-4000-8000-000000000002"},
		Types:    []string{"JWT"},
		Require:  map[string]string{"ver": "2.0"},
		Scopes:   [][]string{{"scp"}},
	}
}

func entraTenants(source keys.Source) signet.TrustedIssuer {
	return signet.TrustedIssuer{
		Issuer:   "https://login.microsoftonline.com/{tid}/v2.0",
		Keys:     source, // keys.OpenURL("https://login.microsoftonline.com/common/discovery/v2.0/keys")
		Audience: []string{"2d4d6f1c-0000-4000-8000-000000000002"},
		Types:    []string{"JWT"},
		Require:  map[string]string{"ver": "2.0"},
		Scopes:   [][]string{{"scp"}},
	}
}

func cognito(source keys.Source) signet.TrustedIssuer {
	return signet.TrustedIssuer{
		Issuer:  "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_AbCdEf123",
		Keys:    source,       // keys.Discover of the same name
		Types:   []string{""}, // its access tokens have no "typ"
		Require: map[string]string{"token_use": "access", "client_id": "4kq2example"},
		Roles:   [][]string{{"cognito:groups"}},
	}
}

func firebase(source keys.Source) signet.TrustedIssuer {
	return signet.TrustedIssuer{
		Issuer:   "https://securetoken.google.com/shop-12345",
		Keys:     source, // keys.Discover of the same name
		Audience: []string{"shop-12345"},
		Types:    []string{"JWT"},
		Roles:    [][]string{{"roles"}}, // custom claims of your own
	}
}

func supabase(source keys.Source) signet.TrustedIssuer {
	return signet.TrustedIssuer{
		Issuer:   "https://abcdefgh.supabase.co/auth/v1",
		Keys:     source, // keys.OpenURL("https://abcdefgh.supabase.co/auth/v1/.well-known/jwks.json")
		Audience: []string{"authenticated"},
		Types:    []string{"JWT"},
		Roles:    [][]string{{"role"}, {"app_metadata", "roles"}},
	}
}

func clerk(source keys.Source) signet.TrustedIssuer {
	return signet.TrustedIssuer{
		Issuer:  "https://clerk.shop.example",
		Keys:    source, // keys.Discover("https://clerk.shop.example")
		Types:   []string{"JWT"},
		Require: map[string]string{"azp": "https://shop.example"},
		Roles:   [][]string{{"o", "rol"}},
	}
}

func kubernetes(source keys.Source) signet.TrustedIssuer {
	return signet.TrustedIssuer{
		Issuer:   "https://kubernetes.default.svc.cluster.local",
		Keys:     source, // keys.OpenURL("https://kubernetes.default.svc/openid/v1/jwks", keys.WithClient(clusterClient))
		Audience: []string{"orders"},
		Types:    []string{""}, // its tokens have no "typ"
		Roles:    [][]string{{"kubernetes.io", "namespace"}},
	}
}

func nodeOIDCProvider(source keys.Source) signet.TrustedIssuer {
	return signet.TrustedIssuer{
		Issuer:       "https://op.example",
		Keys:         source, // keys.Discover("https://op.example")
		Audience:     []string{"https://api.shop.example"},
		SubjectClaim: "client_id", // for tokens of a client without a user
	}
}

// TestIssuersOfTheDocument tries every entry on a token in the form that its issuer documents. A change makes another token of
// it that must be refused, such as an ID token or a token for somebody else.
func TestIssuersOfTheDocument(t *testing.T) {
	for name, tc := range map[string]struct {
		trusted         func(keys.Source) signet.TrustedIssuer
		header, payload string
		subject         string
		roles, scopes   []string
		refused         []string // "old|new": a replacement in header or payload
	}{
		"Keycloak": {keycloak, `{"alg":"RS256","typ":"JWT","kid":"KID"}`, `{"exp":EXP,"iat":IAT,"jti":"onrtac:6b1","iss":"https://login.example/realms/shop",
			"aud":["orders-api","account"],"sub":"f1b2","typ":"Bearer","azp":"spa","sid":"5a9","acr":"1","allowed-origins":["*"],
			"realm_access":{"roles":["offline_access","admin"]},"resource_access":{"orders-api":{"roles":["clerk"]},"account":{"roles":["view-profile"]}},
			"scope":"openid email","email_verified":true}`, "f1b2", []string{"offline_access", "admin", "clerk"}, []string{"openid", "email"},
			[]string{`"typ":"Bearer"|"typ":"ID"`, `"typ":"Bearer"|"typ":"Refresh"`, `"typ":"Bearer",|`, `"aud":["orders-api","account"]|"aud":"account"`, `"acr":"1"|"cnf":{"jkt":"x"}`, `"sub":"f1b2",|`}},
		"Auth0": {auth0, `{"alg":"RS256","typ":"JWT","kid":"KID"}`, `{"https://shop.example/roles":["admin"],"iss":"https://shop.eu.auth0.com/","sub":"auth0|65f",
			"aud":["https://api.shop.example","https://shop.eu.auth0.com/userinfo"],"iat":IAT,"exp":EXP,"scope":"openid read:orders","azp":"x","permissions":["write:orders"]}`,
			"auth0|65f", []string{"admin"}, []string{"openid", "read:orders", "write:orders"},
			[]string{`auth0.com/","sub"|auth0.com","sub"`, `["https://api.shop.example","https://shop.eu.auth0.com/userinfo"]|"spa-client"`}},
		"Okta": {okta, `{"alg":"RS256","kid":"KID"}`, `{"ver":1,"jti":"AT.0mP","iss":"https://shop.okta.com/oauth2/default","aud":"api://default","iat":IAT,"exp":EXP,
			"cid":"0oa","uid":"00u","scp":["openid","orders"],"auth_time":IAT,"sub":"ann@shop.example","groups":["Everyone","admin"]}`,
			"ann@shop.example", []string{"Everyone", "admin"}, []string{"openid", "orders"}, []string{`"aud":"api://default"|"aud":"0oa"`, `{"alg"|{"typ":"JWT","alg"`}},
		"Entra": {entra, `{"typ":"JWT","alg":"RS256","kid":"KID","x5t":"abc"}`, `{"aud":"2d4d6f1c-0000-4000-8000-000000000002",
			"iss":"https://login.microsoftonline.com/8f5e1c2a-0000-4000-8000-000000000001/v2.0","iat":IAT,"nbf":IAT,"exp":EXP,"aio":"x","azp":"y","oid":"o","roles":["Orders.Admin"],
			"scp":"Orders.Read Orders.Write","sub":"s","tid":"8f5e1c2a-0000-4000-8000-000000000001","uti":"u","ver":"2.0"}`,
			"s", []string{"Orders.Admin"}, []string{"Orders.Read", "Orders.Write"}, []string{`"ver":"2.0"|"ver":"1.0"`, `000000000001/v2.0|000000000009/v2.0`}},
		"Entra, many tenants": {entraTenants, `{"typ":"JWT","alg":"RS256","kid":"KID"}`, `{"aud":"2d4d6f1c-0000-4000-8000-000000000002",
			"iss":"https://login.microsoftonline.com/8f5e1c2a-0000-4000-8000-000000000009/v2.0","iat":IAT,"exp":EXP,"scp":"Orders.Read","sub":"s",
			"tid":"8f5e1c2a-0000-4000-8000-000000000009","ver":"2.0"}`, "s", nil, []string{"Orders.Read"},
			[]string{`000000000009/v2.0|000000000008/v2.0`, `"tid":"8f5e1c2a-0000-4000-8000-000000000009",|`, `8f5e1c2a-0000-4000-8000-000000000009/v2.0|{tid}/v2.0`,
				`https://login.microsoftonline.com/8f5e|https://evil.example/8f5e`, `000000000009/v2.0|000000000009/v2.0/x`, `000000000009/v2.0|000000000009/x/v2.0`}},
		"Cognito": {cognito, `{"kid":"KID","alg":"RS256"}`, `{"sub":"aaaa","cognito:groups":["admin"],"iss":"https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_AbCdEf123",
			"client_id":"4kq2example","origin_jti":"o","token_use":"access","scope":"aws.cognito.signin.user.admin","auth_time":IAT,"exp":EXP,"iat":IAT,"jti":"j","username":"ann"}`,
			"aaaa", []string{"admin"}, []string{"aws.cognito.signin.user.admin"},
			[]string{`"token_use":"access"|"token_use":"id"`, `"token_use":"access",|`, `4kq2example|other`, `"client_id":"4kq2example"|"aud":"4kq2example"`}},
		"Firebase": {firebase, `{"alg":"RS256","kid":"KID","typ":"JWT"}`, `{"roles":["admin"],"iss":"https://securetoken.google.com/shop-12345","aud":"shop-12345","auth_time":IAT,"user_id":"u1",
			"sub":"u1","iat":IAT,"exp":EXP,"email":"ann@shop.example","firebase":{"identities":{},"sign_in_provider":"password"}}`, "u1", []string{"admin"}, nil,
			[]string{`"aud":"shop-12345"|"aud":"other"`, `securetoken.google.com/shop|securetoken.google.com/other`}},
		"Supabase": {supabase, `{"alg":"RS256","kid":"KID","typ":"JWT"}`, `{"iss":"https://abcdefgh.supabase.co/auth/v1","sub":"5f0","aud":"authenticated","exp":EXP,"iat":IAT,"role":"authenticated",
			"aal":"aal1","session_id":"x","is_anonymous":false,"app_metadata":{"provider":"email","roles":["admin"]},"user_metadata":{"roles":["forged"]}}`,
			"5f0", []string{"authenticated", "admin"}, nil, []string{`"sub":"5f0","aud":"authenticated"|"role2":"anon"`}},
		"Clerk": {clerk, `{"alg":"RS256","cat":"cl_B7d4","kid":"KID","typ":"JWT"}`, `{"azp":"https://shop.example","exp":EXP,"fva":[0,-1],"iat":IAT,"iss":"https://clerk.shop.example","nbf":IAT,
			"o":{"id":"org_1","rol":"admin","slg":"shop"},"sid":"sess_1","sub":"user_1","v":2}`, "user_1", []string{"admin"}, nil, []string{`"azp":"https://shop.example"|"azp":"https://evil.example"`}},
		"Kubernetes": {kubernetes, `{"alg":"RS256","kid":"KID"}`, `{"aud":["orders"],"exp":EXP,"iat":IAT,"iss":"https://kubernetes.default.svc.cluster.local","jti":"j",
			"kubernetes.io":{"namespace":"shop","pod":{"name":"p","uid":"u"},"serviceaccount":{"name":"web","uid":"v"}},"nbf":IAT,"sub":"system:serviceaccount:shop:web"}`,
			"system:serviceaccount:shop:web", []string{"shop"}, nil, []string{`"aud":["orders"]|"aud":["https://kubernetes.default.svc.cluster.local"]`}},
		"node-oidc-provider": {nodeOIDCProvider, `{"alg":"RS256","typ":"at+jwt","kid":"KID"}`, `{"jti":"j","iat":IAT,"exp":EXP,"scope":"read","client_id":"worker","iss":"https://op.example",
			"aud":"https://api.shop.example"}`, "worker", nil, []string{"read"}, []string{`"client_id":"worker",|`, `"typ":"at+jwt",|`}},
	} {
		t.Run(name, func(t *testing.T) {
			c := newClock()
			key := keys.Private(rsaKey())
			v, err := signet.NewIssuersVerifier([]signet.TrustedIssuer{tc.trusted(published(t, key)),
				{Issuer: "https://another.example", Keys: keys.Secret(secret)}}, signet.WithClock(c.Now))
			require.NoError(t, err)
			token := func(change string) string {
				old, new, _ := strings.Cut(change, "|")
				header, payload := tc.header, tc.payload
				if change != "" {
					require.True(t, strings.Contains(header+payload, old), "%q is not in the token", old)
					header, payload = strings.Replace(header, old, new, 1), strings.Replace(payload, old, new, 1)
				}
				now := c.Now().Unix()
				payload = strings.NewReplacer("IAT", fmt.Sprint(now), "EXP", fmt.Sprint(now+60)).Replace(payload)
				return signWith(t, key, strings.Replace(header, "KID", key.ID(), 1), payload)
			}
			claims, err := v.Verify(t.Context(), token(""))
			require.NoError(t, err)
			require.Equal(t, tc.subject, claims.Subject)
			require.ElementsMatch(t, tc.roles, claims.Roles)
			require.ElementsMatch(t, tc.scopes, claims.Scopes)
			require.Empty(t, claims.SessionID, "only signet's own sid means a session")
			for _, change := range tc.refused {
				_, err := v.Verify(t.Context(), token(change))
				require.ErrorIs(t, err, signet.ErrInvalidToken, change)
			}
		})
	}
}

// published is a source of the public half, as OpenURL would have it.
func published(t testing.TB, key *keys.Key) keys.Source {
	t.Helper()
	source, err := keys.OpenURL("https://keys.example/", keys.WithClient(clientOf(key)), silent)
	require.NoError(t, err)
	t.Cleanup(func() { source.Close() })
	return source
}

// signWith makes a token of any header and payload.
func signWith(t testing.TB, key *keys.Key, header, payload string) string {
	t.Helper()
	input := encode(header) + "." + encode(payload)
	signature, err := key.Sign(t.Context(), []byte(input))
	require.NoError(t, err)
	return input + "." + encode(string(signature))
}

func TestOwnTokensAndThoseOfOthers(t *testing.T) {
	s := newService(t, signet.WithIssuer("https://login.example"))
	partner := newService(t, signet.WithIssuer("https://partner.example"))
	other := keys.Private(p256(t))
	partners, err := signet.NewIssuersVerifier([]signet.TrustedIssuer{{Issuer: "https://i.example", Keys: other, Types: []string{"at+jwt"}}})
	require.NoError(t, err)
	foreign, err := signet.New(newUsers(t), other, signet.WithIssuer("https://i.example"), signet.WithPasswordHasher(cheap))
	require.NoError(t, err)
	defer foreign.Close()
	theirs, err := foreign.Login(t.Context(), "admin@mail.com", "admin123")
	require.NoError(t, err)
	route := fromEither(s.Auth.Verifier, partners, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		claims, _ := signet.ClaimsFromContext(r.Context())
		fmt.Fprint(w, claims.Issuer, " ", claims.Subject)
	}))
	own := s.login(t)
	require.Equal(t, "https://login.example 1", serve(t, route, own.AccessToken).Body.String())
	require.Equal(t, "https://i.example 3", serve(t, route, theirs.AccessToken).Body.String())
	require.Equal(t, 401, serve(t, route, partner.login(t).AccessToken).Code)
	require.NoError(t, s.RevokeUser(t.Context(), "1"))
	require.Equal(t, 401, serve(t, route, own.AccessToken).Code)
}
