// Package bench measures RequireAuth of signet beside other libraries, its peers, and beside floors. See README.md.
package bench

import "strings"

// Kind says what kind of thing a name in a benchmark stands for. Only things of one kind may be compared.
type Kind string

const (
	// Middleware guards a handler and answers the request itself.
	Middleware Kind = "middleware"
	// Parse only turns a token into claims. The benchmark itself extracts the token and refuses, which costs next to
	// nothing.
	Parse Kind = "parse alone"
	// Floor is the cost of the work with the standard library and without checks. It is no product.
	Floor Kind = "floor"
	// Ours is signet.
	Ours Kind = "signet"
)

// KindOf returns the kind that belongs to the name of a library. So a report needs only the output of go test.
func KindOf(lib string) Kind {
	switch {
	case lib == "signet" || strings.HasPrefix(lib, "signet-"):
		return Ours
	case strings.HasPrefix(lib, "floor-"):
		return Floor
	}
	switch lib {
	case "golang-jwt", "golang-jwt-struct", "cristalhq", "kataras", "jwx":
		return Parse
	}
	return Middleware
}

// FloorOf returns the names of the two floors of an algorithm: the signature check alone, and the check with decoding.
func FloorOf(alg string) (signature, decoded string) {
	switch alg {
	case "HS256":
		signature = "floor-hmac"
	case "ES256":
		signature = "floor-ecdsa"
	case "EdDSA":
		signature = "floor-ed25519"
	case "RS256":
		signature = "floor-rsa"
	default:
		return "", ""
	}
	return signature, signature + "-base64-json"
}
