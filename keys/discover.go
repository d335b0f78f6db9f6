package keys

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// Discover is [OpenURL] for an issuer whose name alone is known. The name must be exactly the "iss" of its tokens, and a URL
// without query and fragment. The URL of the keys is in the issuer's metadata: OpenID Connect Discovery
// (ISSUER/.well-known/openid-configuration), or RFC 8414 (/.well-known/oauth-authorization-server). The metadata must name
// exactly this issuer. The error is that of OpenURL.
func Discover(issuer string, opts ...RemoteOption) (*Remote, error) {
	if name, document, of := strings.Cut(issuer, "/.well-known/"); of {
		_, path, _ := strings.Cut(document, "/") // of RFC 8414
		return nil, fmt.Errorf("keys.Discover: this is the URL of the metadata; give the name of the issuer, which is probably %q",
			strings.TrimSuffix(name+"/"+path, "/"))
	}
	return open("Discover", place{issuer: issuer}, opts)
}

// locate returns the URL of the keys.
func (r *Remote) locate(ctx context.Context) (string, error) {
	if r.place.url != "" {
		return r.place.url, nil
	}
	g := &r.guarded
	if g.url != "" && g.err == nil && time.Now().Before(g.askAt) {
		return g.url, nil
	}
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	var errs []error
	for _, address := range r.place.metadataURLs() {
		found, err := r.jwksURI(ctx, address)
		if err == nil {
			g.url, g.askAt = found, time.Now().Add(metadataAge)
			return found, nil
		}
		errs = append(errs, err)
	}
	err := fmt.Errorf("the issuer's metadata: %w", errors.Join(errs...))
	if g.url != "" { // the keys may still be where they were
		g.askAt = time.Now().Add(retryAfter)
		r.warn("keys: the last known URL of the keys is used", "error", err)
		return g.url, nil
	}
	return "", err
}

// metadataURLs returns the URLs where the metadata of an issuer may be. OpenID Connect Discovery 1.0 section 4 appends its
// own path to the path of the issuer. RFC 8414 section 3 puts its own path before the path of the issuer.
func (p place) metadataURLs() []string {
	issuer, _ := url.Parse(p.issuer) // open has checked it
	plain := strings.TrimSuffix(p.issuer, "/")
	inFront := *issuer
	inFront.RawPath = "/.well-known/oauth-authorization-server" + strings.TrimSuffix(issuer.EscapedPath(), "/")
	inFront.Path, _ = url.PathUnescape(inFront.RawPath)
	return []string{plain + "/.well-known/openid-configuration", inFront.String()}
}

// jwksURI reads the metadata at an address, and returns the URL of the keys.
func (r *Remote) jwksURI(ctx context.Context, address string) (string, error) {
	body, _, err := r.get(ctx, address)
	if err != nil {
		return "", err
	}
	var document map[string]json.RawMessage
	if json.Unmarshal(body, &document) != nil {
		return "", errors.New("it is not a JSON object")
	}
	if named, err := textOf(document, "issuer"); err != nil || named != r.place.issuer {
		return "", errors.New("it names another issuer")
	}
	var found *url.URL
	jwksURI, err := textOf(document, "jwks_uri")
	if err == nil {
		found, err = url.Parse(jwksURI)
	}
	if err == nil {
		err = r.place.rule.Check(found)
	}
	if err == nil && strings.HasPrefix(r.place.issuer, "https:") && found.Scheme != "https" {
		err = errors.New("it is not https, but the issuer is")
	}
	if err != nil {
		return "", fmt.Errorf("jwks_uri: %w", err)
	}
	return jwksURI, nil
}
