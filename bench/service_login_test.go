package bench

import (
	"context"
	"errors"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/signet-go/signet"
	"github.com/signet-go/signet/password"
	"github.com/signet-go/signet/userstore"
)

const (
	pacePerSecond = 1000
	loginPassword = "correct horse battery staple"
)

// loginService has users with the default password hash, and keeps sessions in memory.
func loginService(spec childSpec) (*service, error) {
	users := userstore.NewMemory()
	hash, err := password.Hash(loginPassword)
	if err != nil {
		return nil, err
	}
	for i := range spec.Clients {
		id := strconv.Itoa(i + 1)
		user := userstore.User{ID: id, Email: email(i), Roles: []string{"customer"}, PasswordHash: hash}
		if err := users.Add(context.Background(), user); err != nil {
			return nil, err
		}
	}
	auth, err := signet.New(users, secret, signet.WithLogger(silent))
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/api/v1/auth/", auth.Handler("/api/v1/auth"))
	mux.Handle("GET /orders", auth.RequireAuth(orders))
	return &service{handler: mux, commands: map[string]func(string) (any, error){
		"hashes": func(argument string) (any, error) {
			limit, err := time.ParseDuration(argument)
			if err != nil {
				return nil, err
			}
			return hashesPerSecond(hash, limit)
		},
	}}, nil
}

func email(i int) string { return "user" + strconv.Itoa(i+1) + "@mail.com" }

// hashesPerSecond verifies one password on all cores.
func hashesPerSecond(hash string, limit time.Duration) (float64, error) {
	var done atomic.Int64
	workers, began := runtime.GOMAXPROCS(0), time.Now()
	err := together(workers, workers, func(int, int) error {
		for {
			if _, _, err := password.Default().Verify(hash, loginPassword); err != nil {
				return err
			}
			done.Add(1)
			if time.Since(began) >= limit {
				return nil
			}
		}
	})
	return float64(done.Load()) / time.Since(began).Seconds(), err
}

// logIn logs in from one connection.
func logIn(c *conn, user int) error {
	body := []string{`{"email":"`, email(user), `","password":"`, loginPassword, `"}`}
	return want(http.StatusCreated)(c.post("/api/v1/auth/login", body...))
}

// logIns logs in from so many clients until stop. It returns how many logins were done a second.
func (c *child) logIns(clients int, stop *atomic.Bool) (rate float64, err error) {
	conns := c.dial(clients)
	defer hangUp(conns)
	var done atomic.Int64
	began := time.Now()
	err = together(clients, clients, func(_, i int) error {
		for first := true; first || !stop.Load(); first = false {
			if err := logIn(conns[i], i); err != nil {
				return err
			}
			done.Add(1)
		}
		return nil
	})
	return float64(done.Load()) / time.Since(began).Seconds(), err
}

// paced sends requests at a fixed rate. A connection whose answer is late sends its next request late, but each
// latency counts from when the request was due.
func (c *child) paced(token string, limit time.Duration) (latencies []time.Duration, rate float64, err error) {
	conns := c.dial(connections)
	defer hangUp(conns)
	n := int(limit * pacePerSecond / time.Second)
	latencies = make([]time.Duration, n)
	began := time.Now()
	err = together(connections, connections, func(_, worker int) error {
		for i := worker; i < n; i += connections {
			due := began.Add(time.Duration(i) * time.Second / pacePerSecond)
			time.Sleep(time.Until(due))
			if err := want(http.StatusOK)(conns[worker].get("/orders", token)); err != nil {
				return err
			}
			latencies[i] = time.Since(due)
		}
		return nil
	})
	return latencies, float64(n) / time.Since(began).Seconds(), err
}

// measureLogin measures logins and paced requests, each alone and both together.
func measureLogin(t *testing.T, size serviceSize) LoginRun {
	run := LoginRun{Clients: size.logins, PerSecond: pacePerSecond}
	// The token is of a user who does not log in again, because a store ends the oldest session of a user who logs in often.
	c := startChild(t, childSpec{Kind: "login", Clients: size.logins + 1}, nil)
	conns := c.dial(1)
	defer hangUp(conns)
	if err := logIn(conns[0], size.logins); err != nil {
		c.fail(err)
	}
	token := conns[0].field("access_token")
	limit := 2 * size.time
	for range size.rounds {
		var hashes float64
		c.ask("hashes "+limit.String(), &hashes)
		run.Hashes = append(run.Hashes, hashes)

		latencies, rate, err := c.paced(token, limit)
		if err != nil {
			c.fail(err)
		}
		run.AloneRate = append(run.AloneRate, rate)
		run.Alone50 = append(run.Alone50, quantile(latencies, 0.5))
		run.Alone99 = append(run.Alone99, quantile(latencies, 0.99))
		run.AloneMax = append(run.AloneMax, float64(slices.Max(latencies)))

		logins, _, _, err := c.logInsFor(size.logins, limit, "")
		if err != nil {
			c.fail(err)
		}
		run.Logins = append(run.Logins, logins)

		logins, latencies, rate, err = c.logInsFor(size.logins, limit, token)
		if err != nil {
			c.fail(err)
		}
		run.LoginsBeside, run.BesideRate = append(run.LoginsBeside, logins), append(run.BesideRate, rate)
		run.Beside50 = append(run.Beside50, quantile(latencies, 0.5))
		run.Beside99 = append(run.Beside99, quantile(latencies, 0.99))
		run.BesideMax = append(run.BesideMax, float64(slices.Max(latencies)))
	}
	return run
}

// logInsFor logs in from so many clients for some time. With a token it sends paced requests beside the logins.
func (c *child) logInsFor(clients int, limit time.Duration, token string) (
	logins float64, latencies []time.Duration, rate float64, err error,
) {
	var stop atomic.Bool
	finished := make(chan error, 1)
	go func() {
		var err error
		logins, err = c.logIns(clients, &stop)
		finished <- err
	}()
	if token == "" {
		time.Sleep(limit)
	} else {
		latencies, rate, err = c.paced(token, limit)
	}
	stop.Store(true)
	err = errors.Join(err, <-finished)
	return logins, latencies, rate, err
}
