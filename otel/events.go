package otel

import (
	"context"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/signet-go/signet/event"
)

const other = "other"

// known are the kinds, each with the reasons that signet gives itself. The id of a key, a code of the host and the text of a
// store's error are not among them.
var known = map[event.Kind][]string{
	event.LoginOK: {""},
	event.LoginFailed: {"wrong password", "unreadable hash", "unknown account", "disabled", "no password",
		"the user or the password was changed meanwhile"},
	event.LoginThrottled:     {""},
	event.LoginRefused:       {other},
	event.SecondStepRequired: {""},
	event.SecondStepFailed:   {"invalid_code", "invalid_ticket"},
	event.SteppedUp:          {""},
	event.Refreshed:          {"rotated", "repeated", "coalesced"},
	event.Recovered:          {"the answer before had not arrived"},
	event.Theft:              {"a superseded refresh token was used"},
	event.LoggedOut:          {"", "everywhere"},
	event.Revoked:            {"", "the user is missing or disabled", "all sessions", "all other sessions", "everybody"},
	event.UserChanged:        {""},
	event.PasswordChanged:    {"", "the sessions could not be ended"},
	event.KeyRotated:         {other},
	event.StoreLost:          {other},
	event.StoreBack:          {""},
}

var reasons = func() map[string]bool {
	set := map[string]bool{"invalid_credentials": true, "too_many_attempts": true, "temporarily_unavailable": true, "server_error": true}
	for _, list := range known {
		for _, reason := range list {
			set[reason] = true
		}
	}
	return set
}()

// Events returns a function for signet.WithEvents that counts events in signet.events. The attributes are signet.event,
// the kind, and signet.reason. A reason that signet does not give itself is "other", so that no text of a host, a store
// or a client makes a new series; a kind that this version does not know is "other" too. An event without a reason has
// an empty one. The function is safe for concurrent use. A host with a function of its own calls this one in it.
//
// Events adds 0 to each series of a reason of signet at once. Otherwise Prometheus would not see the first event of a kind,
// because rate and increase begin with the second value of a series.
func Events(options ...Option) func(ctx context.Context, e event.Event) {
	counter, err := newSettings(options).meter().Int64Counter(eventsName,
		metric.WithUnit("{event}"), metric.WithDescription("Events of signet, by kind and reason."))
	if err != nil {
		otel.Handle(err)
	}
	add := func(ctx context.Context, n int64, kind event.Kind, reason string) {
		counter.Add(ctx, n, metric.WithAttributes(
			attribute.String("signet.event", string(kind)), attribute.String("signet.reason", reason)))
	}
	for kind, list := range known {
		for _, reason := range list {
			add(context.Background(), 0, kind, reason)
		}
	}
	return func(ctx context.Context, e event.Event) {
		kind, reason := e.Kind, e.Reason
		if known[kind] == nil {
			kind = other
		}
		if !reasons[reason] {
			reason = other
		}
		add(ctx, 1, kind, reason)
	}
}
