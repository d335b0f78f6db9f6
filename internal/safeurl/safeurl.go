// Package safeurl says which URLs may be fetched (https, and http where nobody can listen), and fetches them.
package safeurl

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
)

// Rule says which URLs a client may fetch.
type Rule struct {
	Host     string // the host and port of the URL that was configured
	Insecure bool   // http is allowed for Host
}

// Check accepts https. It accepts http only on a loopback address, and at Host if the rule is insecure. Its errors name no URL.
func (r Rule) Check(u *url.URL) error {
	if u.Host == "" {
		return errors.New("the URL is not absolute")
	}
	if u.User != nil { // a URL can be logged
		return errors.New("the URL holds credentials; give them to the client's transport")
	}
	loopback := u.Hostname() == "localhost" || net.ParseIP(u.Hostname()).IsLoopback()
	if u.Scheme == "https" || u.Scheme == "http" && (loopback || r.Insecure && u.Host == r.Host) {
		return nil
	}
	return fmt.Errorf("the URL's scheme %q is not https; in a network that you trust, use WithInsecureHTTP", u.Scheme)
}

// redirects returns a function for [http.Client].CheckRedirect. It allows at most three redirects, and none from https to
// http. own is the function of the client's owner, or nil.
func (r Rule) redirects(own func(*http.Request, []*http.Request) error) func(*http.Request, []*http.Request) error {
	return func(request *http.Request, via []*http.Request) error {
		request.Header.Del("Referer")        // the query of the URL before may be a secret
		if request.Method != via[0].Method { // 301, 302 and 303 make a GET of a POST
			return errors.New("the redirect is refused: it turns POST into GET; use 307 or 308")
		}
		if r.Check(request.URL) != nil || len(via) > 3 || via[0].URL.Scheme == "https" && request.URL.Scheme != "https" {
			return errors.New("the redirect is refused")
		}
		if own != nil {
			return own(request, via)
		}
		return nil
	}
}
