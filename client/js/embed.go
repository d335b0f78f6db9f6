// Package js holds the JavaScript client as a file that a Go program can serve. See README.md for the client itself.
package js

import _ "embed" // for the file

// Module is the ES module signet.js. Serve it with the Content-Type "text/javascript".
//
//go:embed signet.js
var Module []byte
