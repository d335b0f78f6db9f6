package otel_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"sort"
	"strings"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/signet-go/signet"
	"github.com/signet-go/signet/event"
	"github.com/signet-go/signet/keys"
	"github.com/signet-go/signet/otel"
	"github.com/signet-go/signet/session"
	"github.com/signet-go/signet/userstore"
)

// A whole service with metrics. A real program sends them away: it gives its meter provider a reader that exports.
func Example() {
	reader := sdkmetric.NewManualReader()
	meters := otel.WithMeterProvider(sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)))

	users := otel.UserStore(userstore.NewMemory(), meters)
	auth, err := signet.New(users, keys.Secret([]byte("Zk8pV3n1QyXr5tB7wLs9Hd2GcJ4mUaEo")),
		signet.WithSessionStore(otel.SessionStore(&session.Memory{}, meters)),
		signet.WithEvents(otel.Events(meters)))
	if err != nil {
		log.Fatal(err)
	}
	stop, err := otel.Observe(auth, meters)
	if err != nil {
		log.Fatal(err)
	}
	defer stop()
	handler := otel.AuthHandler(auth.Handler("/auth"), meters)

	login := httptest.NewRequest("POST", "/auth/login", strings.NewReader(`{"email":"john@mail.com","password":"changeme"}`))
	login.Header.Set("Content-Type", "application/json")
	answer := httptest.NewRecorder()
	handler.ServeHTTP(answer, login)
	fmt.Println(answer.Code)
	if err := auth.Close(); err != nil { // it waits for the events
		log.Fatal(err)
	}

	var all metricdata.ResourceMetrics
	if err := reader.Collect(context.Background(), &all); err != nil {
		log.Fatal(err)
	}
	var names []string
	for _, m := range all.ScopeMetrics[0].Metrics {
		names = append(names, m.Name)
	}
	sort.Strings(names)
	fmt.Println(strings.Join(names, "\n"))
	// Output:
	// 401
	// signet.events
	// signet.events.dropped
	// signet.hashes.refused
	// signet.hashes.running
	// signet.hashes.waiting
	// signet.http.duration
	// signet.revocation.lag
	// signet.store.duration
	// signet.tokens.verified
}

// A host with a function of its own calls both.
func ExampleEvents() {
	count := otel.Events()
	option := signet.WithEvents(func(ctx context.Context, e event.Event) {
		count(ctx, e)
		if e.Kind == event.Theft {
			fmt.Println("write to the user", e.Subject)
		}
	})
	_ = option
	// Output:
}

func ExampleHandler() {
	orders := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	answer := httptest.NewRecorder()
	otel.Handler("orders", orders).ServeHTTP(answer, httptest.NewRequest("GET", "/orders", nil))
	fmt.Println(answer.Code)
	// Output: 204
}
