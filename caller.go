package signet

import (
	"context"
	"net/http"
	"strings"
	"unicode"

	"github.com/signet-go/signet/internal/clientip"
	"github.com/signet-go/signet/internal/rotation"
)

// caller is what a context says about where a call came from.
type caller struct {
	rotation.Client
	method, path, requestID string
	cookies                 bool // tokens travel in cookies
}

type callerKey struct{}

// ContextWithClient returns a context with a description of the client. [Auth.Login], [Auth.IssueFor] and
// [Auth.Refresh] store it in the session, for the list of a user's sessions. The limits for attempts to log in
// ([LoginPolicy]) count by the address, which may have a port behind it. Only printable characters are kept, and at most 256
// bytes of each text.
func ContextWithClient(ctx context.Context, userAgent, address string) context.Context {
	from := callerOf(ctx)
	from.Client = rotation.Client{UserAgent: label(userAgent), Address: label(address)}
	return context.WithValue(ctx, callerKey{}, from)
}

// ContextWithClient returns the context of a request with its client: its user agent, and the address of the connection or
// the one that a trusted proxy names ([WithTrustedProxies]). Signet's handlers call it. Handlers of the host that log users
// in should call it too.
func (a *Auth) ContextWithClient(r *http.Request) context.Context {
	return context.WithValue(r.Context(), callerKey{}, a.caller(r))
}

func (a *Auth) caller(r *http.Request) caller {
	return caller{Client: rotation.Client{UserAgent: label(r.UserAgent()), Address: label(a.clientAddress(r))},
		method: label(r.Method), path: label(r.URL.Path), requestID: label(r.Header.Get("X-Request-Id"))}
}

// clientAddress finds the address of the client. It warns once if there seems to be a proxy that nobody has named.
func (a *Auth) clientAddress(r *http.Request) string {
	address, ignored := clientip.Of(r, a.proxies)
	if ignored && a.warnedProxy.CompareAndSwap(false, true) {
		a.logger.WarnContext(r.Context(), "signet: a request has X-Forwarded-For, and no proxy is trusted: all clients behind "+
			"the proxy count as one; see WithTrustedProxies", "connection", address)
	}
	return address
}

func callerOf(ctx context.Context) caller {
	from, _ := ctx.Value(callerKey{}).(caller)
	return from
}

func clientOf(ctx context.Context) rotation.Client { return callerOf(ctx).Client }

// networkOf is the network of the client. It takes turns with others to hash passwords.
func networkOf(ctx context.Context) string { return clientip.Network(clientOf(ctx).Address) }

// maxLabel is the longest text of a request that sessions, events and the log keep, in bytes.
const maxLabel = 256

// label returns a copy of text without characters that cannot be shown. Characters that are not printable could change
// the direction of the text around them, or hide a part of it. It is a copy because some servers (fasthttp) use the
// memory of a request again.
func label(text string) string {
	text = strings.Clone(text[:min(len(text), maxLabel)])
	if isPrintASCII(text) { // nearly always
		return text
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, ""))
}

func isPrintASCII(text string) bool {
	for i := range len(text) {
		if text[i] < ' ' || text[i] > '~' {
			return false
		}
	}
	return true
}
