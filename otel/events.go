package otel

import (
	"context"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/signet-go/signet/event"
)

const other = "other"

var kinds = setOf(
	event.LoginOK, event.LoginFailed, event.LoginThrottled, event.LoginRefused, event.SecondStepRequired,
	event.SecondStepFailed, event.SteppedUp, event.Refreshed, event.Recovered, event.Theft, event.LoggedOut,
	event.Revoked, event.UserChanged, event.PasswordChanged, event.KeyRotated, event.StoreLost, event.StoreBack,
)

// The reasons that signet gives itself. The id of a key and the text of a store's error are not among them.
var reasons = setOf(
	"wrong password", "unreadable hash", "unknown account", "disabled", "no password",
	"invalid_credentials", "too_many_attempts", "invalid_ticket", "invalid_code", "temporarily_unavailable", "server_error",
	"a superseded refresh token was used", "the answer before had not arrived", "the user is missing or disabled",
	"rotated", "repeated", "coalesced", "everywhere", "all sessions", "all other sessions", "everybody",
)

func setOf[T comparable](values ...T) map[T]bool {
	set := make(map[T]bool, len(values))
	for _, v := range values {
		set[v] = true
	}
	return set
}

// Events returns a function for signet.WithEvents that counts events in signet.events. The attributes are signet.event,
// the kind, and signet.reason. A reason that signet does not give itself is "other", so that no text of a host, a store
// or a client makes a new series; a kind that this version does not know is "other" too. An event without a reason has
// an empty one. The function is safe for concurrent use. A host with a function of its own calls this one in it.
func Events(options ...Option) func(ctx context.Context, e event.Event) {
	counter, err := newSettings(options).meter().Int64Counter(eventsName,
		metric.WithUnit("{event}"), metric.WithDescription("Events of signet, by kind and reason."))
	if err != nil {
		otel.Handle(err)
	}
	return func(ctx context.Context, e event.Event) {
		kind, reason := string(e.Kind), e.Reason
		if !kinds[e.Kind] {
			kind = other
		}
		if reason != "" && !reasons[reason] {
			reason = other
		}
		counter.Add(ctx, 1, metric.WithAttributes(
			attribute.String("signet.event", kind), attribute.String("signet.reason", reason)))
	}
}
