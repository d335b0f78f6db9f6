package totp_test

import (
	"context"
	"fmt"
	"time"

	app "github.com/pquerna/otp/totp"

	"github.com/signet-go/signet/totp"
	"github.com/signet-go/signet/userstore"
)

// A user sets up an app, logs in with a code of it, and later with a recovery code.
func Example() {
	ctx := context.Background()
	users := userstore.NewMemory() // or sqlstore.Users
	users.Add(ctx, userstore.User{ID: "42", Email: "ann@example.com"})
	now := time.Unix(1_800_000_000, 0)
	key := []byte("32 random bytes of a secret file") // os.ReadFile
	factor, err := totp.New(users, key, totp.WithIssuer("Shop"), totp.WithClock(func() time.Time { return now }))
	if err != nil {
		panic(err)
	}

	enrolment, err := factor.Begin(ctx, "42", "ann@example.com") // show enrolment.URI as a QR code
	fmt.Println(enrolment, err)
	code, _ := app.GenerateCode(enrolment.Secret, now)          // what the app shows
	recoveryCodes, err := factor.Confirm(ctx, "42", code)       // show them once
	fmt.Println(len(recoveryCodes), len(recoveryCodes[0]), err) // 10 codes: abcd-efgh-jkmn-pqrs-tvwx-yz01

	now = now.Add(time.Minute)
	code, _ = app.GenerateCode(enrolment.Secret, now)
	fmt.Println(factor.Verify(ctx, "42", code[:3]+" "+code[3:]))
	fmt.Println(factor.Verify(ctx, "42", code)) // it was used
	fmt.Println(factor.Verify(ctx, "42", recoveryCodes[0]))
	fmt.Println(factor.Verify(ctx, "42", recoveryCodes[0]))
	// Output:
	// totp.Enrolment <nil>
	// 10 29 <nil>
	// [otp] <nil>
	// [] <nil>
	// [otp] <nil>
	// [] <nil>
}
