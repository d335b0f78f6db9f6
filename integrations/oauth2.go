package integrations

import (
	"context"

	"golang.org/x/oauth2"

	"github.com/signet-go/signet/client"
)

// tokenSource makes a signet client an [oauth2.TokenSource], for libraries that take one. ctx limits every refresh. Do
// not wrap it in oauth2.ReuseTokenSource: the client has a cache of its own, and knows better when a token is too old.
// Prefer client.Transport where you can: only that refreshes after a 401 and sends no token to other hosts. A caller that
// cannot use it, and whose token was refused, calls client.Client.TokenAfter.
func tokenSource(ctx context.Context, c *client.Client) oauth2.TokenSource { return source{ctx, c} }

type source struct {
	ctx    context.Context
	client *client.Client
}

// Token has no refresh token: only the client may use that.
func (s source) Token() (*oauth2.Token, error) {
	access, expiry, err := s.client.Token(s.ctx)
	if err != nil {
		return nil, err
	}
	return &oauth2.Token{AccessToken: access, TokenType: "Bearer", Expiry: expiry}, nil
}
