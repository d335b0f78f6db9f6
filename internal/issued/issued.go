// Package issued tells package signettest what the access tokens of a service have in common. A host does not need to know it.
package issued

import "time"

// Form is what every access token of a service has.
type Form struct {
	Type     string // the header's "typ"
	Issuer   string // "": none
	Audience []string
	Now      func() time.Time // the service's clock
}

// FormOf returns the form of a *signet.Auth. Package signet sets it.
var FormOf func(auth any) Form
