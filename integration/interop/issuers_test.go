package interop

import (
	"context"
	"crypto"
	"encoding/json"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	josev3 "github.com/go-jose/go-jose/v3"
	josev4 "github.com/go-jose/go-jose/v4"
	"github.com/ory/fosite"
	"github.com/ory/fosite/compose"
	"github.com/ory/fosite/handler/oauth2"
	fositestore "github.com/ory/fosite/storage"
	fositejwt "github.com/ory/fosite/token/jwt"
	"github.com/stretchr/testify/require"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"

	"github.com/signet-go/signet/keys"
)

// The one client of every issuer. It gets access tokens by the grant client_credentials.
const (
	clientID     = "client"
	clientSecret = "client-secret"
	clientScope  = "orders:read orders:write"
)

// foreign is a running issuer that was written elsewhere.
type foreign struct {
	issuer   string
	jwks     string
	endpoint string // where tokens are asked for
}

// token asks for an access token. The form says what else the issuer wants to know.
func (f foreign) token(t testing.TB, form url.Values) string {
	t.Helper()
	return f.ask(t, form, nil)
}

// ask asks for an access token, with further members in the header of the request.
func (f foreign) ask(t testing.TB, form url.Values, header http.Header) string {
	t.Helper()
	all := url.Values{"grant_type": {"client_credentials"}, "scope": {clientScope}}
	maps.Copy(all, form)
	ctx, cancel := context.WithTimeout(t.Context(), answerLimit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, f.endpoint, strings.NewReader(all.Encode()))
	require.NoError(t, err)
	maps.Copy(req.Header, header)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(clientID, clientSecret)
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, res.StatusCode, "%s", body)
	var answer struct {
		AccessToken string `json:"access_token"`
	}
	require.NoError(t, json.Unmarshal(body, &answer))
	t.Logf("header %v, claims %v", part(t, answer.AccessToken, 0), part(t, answer.AccessToken, 1))
	return answer.AccessToken
}

// startNodeOIDCProvider starts node-oidc-provider. The form member "resource" chooses the audience and the algorithm: see
// issuer.mjs.
func startNodeOIDCProvider(t testing.TB) foreign {
	t.Helper()
	path, err := findNode()
	if reason, ok := err.(absent); ok {
		missing(t, reason.Error())
	}
	require.NoError(t, err)
	p, first, err := startProgram(path, filepath.Join("node", "issuer.mjs"))
	require.NoError(t, err)
	t.Cleanup(p.stop)
	var answer struct{ Issuer string }
	require.NoError(t, json.Unmarshal(first, &answer))
	return foreign{answer.Issuer, answer.Issuer + "/jwks", answer.Issuer + "/token"}
}

// startZitadel starts a provider of github.com/zitadel/oidc on the storage of its example. The storage's own client for the
// grant gets opaque tokens, so this one has another. The private claims go into every access token.
func startZitadel(t testing.TB, algorithm keys.Algorithm, private map[string]any) foreign {
	t.Helper()
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	store := &zitadelStorage{Storage: storage.NewStorage(storage.NewUserStore(server.URL)), private: private,
		key: zitadelKey{josev4.SignatureAlgorithm(algorithm), signers()[algorithm][0]}}
	provider, err := op.NewProvider(&op.Config{}, store, op.StaticIssuer(server.URL), op.WithAllowInsecure(),
		op.WithLogger(slog.New(slog.DiscardHandler)))
	require.NoError(t, err)
	mux.Handle("/", provider)
	return foreign{server.URL, server.URL + "/keys", server.URL + "/oauth/token"}
}

type zitadelStorage struct {
	*storage.Storage
	key     zitadelKey
	private map[string]any
}

func (s *zitadelStorage) SigningKey(context.Context) (op.SigningKey, error) { return s.key, nil }

func (s *zitadelStorage) SignatureAlgorithms(context.Context) ([]josev4.SignatureAlgorithm, error) {
	return []josev4.SignatureAlgorithm{s.key.algorithm}, nil
}

func (s *zitadelStorage) KeySet(context.Context) ([]op.Key, error) {
	return []op.Key{zitadelPublic{s.key}}, nil
}

func (s *zitadelStorage) ClientCredentials(_ context.Context, id, secret string) (op.Client, error) {
	if id != clientID || secret != clientSecret {
		return nil, oidc.ErrInvalidClient()
	}
	return zitadelClient{storage.WebClient(clientID, clientSecret)}, nil
}

func (s *zitadelStorage) ClientCredentialsTokenRequest(_ context.Context, id string, scopes []string) (op.TokenRequest,
	error) {
	return &oidc.JWTTokenRequest{Subject: id, Audience: []string{id, api}, Scopes: scopes}, nil
}

func (s *zitadelStorage) GetPrivateClaimsFromScopes(context.Context, string, string, []string) (map[string]any, error) {
	return s.private, nil
}

type zitadelClient struct{ op.Client }

func (zitadelClient) AccessTokenType() op.AccessTokenType { return op.AccessTokenTypeJWT }

func (zitadelClient) GrantTypes() []oidc.GrantType {
	return []oidc.GrantType{oidc.GrantTypeClientCredentials}
}

type zitadelKey struct {
	algorithm josev4.SignatureAlgorithm
	private   crypto.Signer
}

func (k zitadelKey) ID() string                                    { return "zitadel-1" }
func (k zitadelKey) Key() any                                      { return k.private }
func (k zitadelKey) SignatureAlgorithm() josev4.SignatureAlgorithm { return k.algorithm }

type zitadelPublic struct{ zitadelKey }

func (k zitadelPublic) Key() any                             { return k.private.Public() }
func (k zitadelPublic) Use() string                          { return "sig" }
func (k zitadelPublic) Algorithm() josev4.SignatureAlgorithm { return k.algorithm }

// fositeConfig is what differs between issuers on ory/fosite.
type fositeConfig struct {
	algorithm keys.Algorithm
	scopes    fositejwt.JWTScopeFieldEnum
	typ       string         // "": fosite's own, which is "JWT"
	extra     map[string]any // further claims
}

// startFosite starts an issuer on ory/fosite, which is a framework: the endpoints are those that its documentation shows.
// The form member "audience" chooses the audience.
func startFosite(t testing.TB, cfg fositeConfig) foreign {
	t.Helper()
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	config := &fosite.Config{GlobalSecret: secret(), AccessTokenLifespan: 5 * time.Minute, AccessTokenIssuer: server.URL,
		ScopeStrategy: fosite.ExactScopeStrategy, AudienceMatchingStrategy: fosite.ExactAudienceMatchingStrategy,
		JWTScopeClaimKey: cfg.scopes, HashCost: 4}
	hash, err := config.GetSecretsHasher(t.Context()).Hash(t.Context(), []byte(clientSecret))
	require.NoError(t, err)
	store := fositestore.NewMemoryStore()
	store.Clients[clientID] = &fosite.DefaultClient{ID: clientID, Secret: hash, GrantTypes: []string{"client_credentials"},
		Scopes: strings.Fields(clientScope), Audience: []string{api, otherAPI}}
	key := &josev3.JSONWebKey{Key: signers()[cfg.algorithm][0], KeyID: "fosite-1", Algorithm: string(cfg.algorithm), Use: "sig"}
	strategy := compose.NewOAuth2JWTStrategy(func(context.Context) (any, error) { return key, nil },
		compose.NewOAuth2HMACStrategy(config), config)
	provider := compose.Compose(config, store, strategy, compose.OAuth2ClientCredentialsGrantFactory)

	mux.HandleFunc("GET /jwks", func(w http.ResponseWriter, r *http.Request) {
		json.NewEncoder(w).Encode(josev3.JSONWebKeySet{Keys: []josev3.JSONWebKey{key.Public()}})
	})
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) {
		session := &oauth2.JWTSession{JWTClaims: &fositejwt.JWTClaims{Subject: clientID, Extra: cfg.extra},
			JWTHeader: fositejwt.NewHeaders()}
		if cfg.typ != "" {
			session.JWTHeader.Add("typ", cfg.typ)
		}
		request, err := provider.NewAccessRequest(r.Context(), r, session)
		if err != nil {
			provider.WriteAccessError(r.Context(), w, request, err)
			return
		}
		for _, scope := range request.GetRequestedScopes() {
			request.GrantScope(scope)
		}
		for _, audience := range request.GetRequestedAudience() {
			request.GrantAudience(audience)
		}
		response, err := provider.NewAccessResponse(r.Context(), request)
		if err != nil {
			provider.WriteAccessError(r.Context(), w, request, err)
			return
		}
		provider.WriteAccessResponse(r.Context(), w, request, response)
	})
	return foreign{server.URL, server.URL + "/jwks", server.URL + "/token"}
}

// startGoJose serves the key set of an issuer that is made with go-jose alone, and returns a token of it with those claims
// and the usual ones. go-jose sets no type by itself, and some well-known issuers have none.
func startGoJose(t testing.TB, claims map[string]any) (f foreign, token string) {
	t.Helper()
	key := josev4.JSONWebKey{Key: signers()[keys.ES256][0], KeyID: "go-jose-1", Algorithm: string(josev4.ES256), Use: "sig"}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		json.NewEncoder(w).Encode(josev4.JSONWebKeySet{Keys: []josev4.JSONWebKey{key.Public()}})
	}))
	t.Cleanup(server.Close)
	signer, err := josev4.NewSigner(josev4.SigningKey{Algorithm: josev4.ES256, Key: key}, nil)
	require.NoError(t, err)
	now := time.Now()
	all := map[string]any{"iss": server.URL, "aud": api, "jti": "1", "iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix()}
	maps.Copy(all, claims)
	payload, err := json.Marshal(all)
	require.NoError(t, err)
	signed, err := signer.Sign(payload)
	require.NoError(t, err)
	token, err = signed.CompactSerialize()
	require.NoError(t, err)
	return foreign{issuer: server.URL, jwks: server.URL + "/jwks"}, token
}
