package totp_test

import (
	"context"

	"github.com/signet-go/signet"
	"github.com/signet-go/signet/keys"
	"github.com/signet-go/signet/totp"
	"github.com/signet-go/signet/userstore"
)

// The snippets of docs/login.md.

func setUpSnippet(users *userstore.Memory, key []byte, secret *keys.Key) error {
	factor, err := totp.New(users, key, totp.WithIssuer("Shop")) // key: 32 random bytes of a file of its own
	if err != nil {
		return err
	}
	auth, err := signet.New(users, secret, signet.WithLogin(signet.LoginPolicy{SecondFactor: factor}))
	_ = auth
	return err
}

func confirmSnippet(ctx context.Context, factor *totp.Factor, userID, email, code string) error {
	begun, err := factor.Begin(ctx, userID, email) // show begun.URI as a QR code
	_ = begun
	if err != nil {
		return err
	}
	recovery, err := factor.Confirm(ctx, userID, code) // the first code of the app; show the recovery codes once
	_ = recovery
	return err
}

var _, _ = setUpSnippet, confirmSnippet
