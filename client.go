package signet

import (
	"context"
	"strings"
	"unicode"
)

// Client describes who logs in, for the list of a user's sessions.
type Client struct {
	UserAgent string
	Address   string
}

type clientKey struct{}

// WithClient returns a context in which Login and IssueFor make sessions that remember the client. LoginHandler does it by
// itself. Control characters are dropped, and texts cut to 256 bytes.
func WithClient(ctx context.Context, client Client) context.Context {
	client.UserAgent, client.Address = label(client.UserAgent), label(client.Address)
	return context.WithValue(ctx, clientKey{}, client)
}

func clientOf(ctx context.Context) Client {
	client, _ := ctx.Value(clientKey{}).(Client)
	return client
}

// maxLabel bounds what a session keeps of a client, in bytes.
const maxLabel = 256

func label(text string) string {
	text = strings.ToValidUTF8(text[:min(len(text), maxLabel)], "")
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return -1
		}
		return r
	}, text)
}
