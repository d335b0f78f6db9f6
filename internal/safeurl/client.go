package safeurl

import (
	"errors"
	"net/http"
	"net/url"
	"time"
)

// Client returns a client that follows redirects by the rule, and a function that ends what belongs to it. given is the client of
// the host, which is copied, or nil.
//
// Without a given one, the client has connections of its own. It gives up one on which nothing comes for ten seconds. HTTP/2 would
// send all requests on such a connection for as long as the system believes that it is there.
func (r Rule) Client(given *http.Client) (client *http.Client, end func()) {
	client, end = &http.Client{}, func() {}
	if given != nil {
		*client = *given
	} else if shared, ok := http.DefaultTransport.(*http.Transport); ok {
		own := shared.Clone()
		own.IdleConnTimeout = 30 * time.Second
		if own.HTTP2 == nil {
			own.HTTP2 = &http.HTTP2Config{}
		}
		own.HTTP2.SendPingTimeout, own.HTTP2.PingTimeout = 5*time.Second, 5*time.Second
		client.Transport, end = own, own.CloseIdleConnections
	}
	client.CheckRedirect = r.redirects(client.CheckRedirect)
	return client, end
}

// Do sends a request. Its error does not name the URL, whose query may be a secret.
func Do(client *http.Client, req *http.Request) (*http.Response, error) {
	res, err := client.Do(req)
	var failed *url.Error
	if errors.As(err, &failed) {
		return nil, failed.Err
	}
	return res, err
}
