package event_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"github.com/signet-go/signet/event"
)

// A function for signet.WithEvents writes a log for auditors, and mails users who sign in from a new place.
func Example() {
	audit := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{} // so that the output of this example is always the same
			}
			return a
		},
	}))
	mail := func(userID, text string) { fmt.Println("mail to user", userID+":", text) }

	handle := func(ctx context.Context, e event.Event) {
		switch e.Kind {
		case event.Theft, event.Revoked, event.PasswordChanged:
			audit.LogAttrs(ctx, e.Level(), "account", e.Attrs()...)
		case event.LoginOK:
			if e.NewPlace {
				mail(e.Subject, "new sign-in from "+e.Address)
			}
		}
	}

	handle(context.Background(), event.Event{Kind: event.LoginOK, Subject: "42", Address: "192.0.2.1", NewPlace: true})
	handle(context.Background(), event.Event{Kind: event.Theft, Subject: "42", SessionID: "q1W2e3", Address: "198.51.100.7"})
	// Output:
	// mail to user 42: new sign-in from 192.0.2.1
	// level=WARN msg=account event=theft user=42 session=q1W2e3 address=198.51.100.7
}
