package safeurl_test

import (
	"errors"
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/internal/safeurl"
)

func TestCheck(t *testing.T) {
	strict, insecure := safeurl.Rule{Host: "issuer.test:8080"}, safeurl.Rule{Host: "issuer.test:8080", Insecure: true}
	for _, test := range []struct {
		url  string
		rule safeurl.Rule
		want string // a part of the error
	}{
		{"https://issuer.test/keys", strict, ""},
		{"https://other.test", strict, ""},
		{"https://issuer.test", insecure, ""},
		{"http://localhost:1/keys", strict, ""},
		{"http://127.0.0.2:1/keys", strict, ""},
		{"http://[::1]/keys", strict, ""},
		{"http://issuer.test:8080/keys", insecure, ""},

		{"http://issuer.test:8080/keys", strict, "not https"},
		{"http://issuer.test/keys", insecure, "not https"}, // another port
		{"http://other.test:8080/keys", insecure, "not https"},
		{"http://localhost.test/keys", strict, "not https"},
		{"http://192.0.2.1/keys", strict, "not https"},
		{"ftp://localhost/keys", strict, "not https"},
		{"ftp://issuer.test:8080/keys", insecure, "not https"},
		{"https:///keys", strict, "not absolute"},
		{"/keys", strict, "not absolute"},
		{"https:issuer.test", strict, "not absolute"},
		{"https://me:secret@issuer.test/keys", strict, "credentials"},
		{"https://me@issuer.test/keys", strict, "credentials"},
	} {
		u, err := url.Parse(test.url)
		require.NoError(t, err)
		err = test.rule.Check(u)
		if test.want == "" {
			require.NoError(t, err, test.url)
			continue
		}
		require.ErrorContains(t, err, test.want, test.url)
		require.NotContains(t, err.Error(), "issuer.test", "the error names the URL")
		require.NotContains(t, err.Error(), "secret")
	}
}

func TestRedirects(t *testing.T) {
	own := errors.New("the owner's")
	rule := safeurl.Rule{Host: "issuer.test", Insecure: true}
	client, _ := rule.Client(&http.Client{})
	owned, _ := rule.Client(&http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return own }})
	for _, test := range []struct {
		urls    []string // the last one is the redirect's
		allowed bool
	}{
		{[]string{"https://a.test", "https://b.test"}, true},
		{[]string{"https://a.test", "https://b.test", "https://c.test", "https://d.test"}, true},
		{[]string{"https://a.test", "https://b.test", "https://c.test", "https://d.test", "https://e.test"}, false},
		{[]string{"https://a.test", "http://localhost"}, false},
		{[]string{"https://issuer.test", "http://issuer.test"}, false},
		{[]string{"http://issuer.test", "http://issuer.test/keys"}, true},
		{[]string{"http://issuer.test", "https://issuer.test"}, true},
		{[]string{"http://issuer.test", "http://a.test"}, false},
		{[]string{"https://a.test", "https://me:secret@b.test"}, false},
	} {
		var requests []*http.Request
		for _, url := range test.urls {
			r, err := http.NewRequest(http.MethodPost, url, nil)
			require.NoError(t, err)
			r.Header.Set("Referer", "https://a.test?key=secret")
			requests = append(requests, r)
		}
		last := len(requests) - 1
		err := client.CheckRedirect(requests[last], requests[:last])
		if !test.allowed {
			require.EqualError(t, err, "the redirect is refused", test.urls)
			require.Equal(t, err, owned.CheckRedirect(requests[last], requests[:last]), "the owner is not asked about %s", test.urls)
			continue
		}
		require.NoError(t, err, test.urls)
		require.Empty(t, requests[last].Header.Get("Referer"), "it would tell the query of the URL before")
		require.Equal(t, own, owned.CheckRedirect(requests[last], requests[:last]), "the owner has the last word about %s", test.urls)
	}
	get, err := http.NewRequest(http.MethodGet, "https://b.test", nil) // what net/http makes of a POST after a 301
	require.NoError(t, err)
	post, err := http.NewRequest(http.MethodPost, "https://a.test", nil)
	require.NoError(t, err)
	require.ErrorContains(t, client.CheckRedirect(get, []*http.Request{post}), "use 307 or 308")
}
