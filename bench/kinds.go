// Package bench measures RequireAuth of signet beside its peers and beside floors. See README.md.
package bench

import "strings"

// Kind says what a name in a benchmark stands for, since only like may be compared with like.
type Kind string

const (
	// Middleware guards a handler and answers the request itself.
	Middleware Kind = "middleware"
	// Parse only turns a token into claims; extraction and refusal are ours and cost next to nothing.
	Parse Kind = "parse alone"
	// Floor is what the work costs with the standard library and no checks; nobody's product.
	Floor Kind = "floor"
	// Ours is signet.
	Ours Kind = "signet"
)

// KindOf reads the kind off the name of a library, so that a report needs nothing but the output of go test.
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

// FloorOf names the two floors of an algorithm: the signature check alone, and with decoding.
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
