// Command example is a small shop with JWT login: the whole contract of signet below /api/v1/auth for apps and below
// /web/auth for browsers, routes for signed-in users and for administrators, and a page at / that shows it all.
//
//	go run ./example
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/signet-go/signet"
	"github.com/signet-go/signet/keys"
	"github.com/signet-go/signet/throttle"
	"github.com/signet-go/signet/userstore"
)

func main() {
	// A password hash holds a thread for some 20 ms. With more threads than hashes, other requests need not wait for that.
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(2 * runtime.GOMAXPROCS(0))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "example:", err)
		os.Exit(1)
	}
}

// settings are the command line.
type settings struct {
	addr      string
	lifetimes signet.Lifetimes
	db, redis string
	proxies   []netip.Prefix
	level     slog.Level
}

func run(ctx context.Context, args []string) error {
	var set settings
	flags := flag.NewFlagSet("example", flag.ContinueOnError)
	flags.StringVar(&set.addr, "addr", "127.0.0.1:8080", "address to listen on; port 0 takes a free one")
	flags.DurationVar(&set.lifetimes.Access, "access-ttl", 0, "lifetime of access tokens; 0: the contract's 20 days")
	flags.DurationVar(&set.lifetimes.Refresh, "refresh-ttl", 0, "lifetime of refresh tokens; 0: the contract's 10 hours")
	flags.StringVar(&set.db, "db", "", "users and sessions in postgres://..., sqlite:FILE or mysql:DSN; default: in memory")
	flags.StringVar(&set.redis, "redis", "", "sessions in redis://HOST:PORT/DB")
	flags.Func("trusted-proxies", "addresses of proxies whose X-Forwarded-For is believed: prefixes with commas between", func(list string) error {
		for text := range strings.SplitSeq(list, ",") {
			prefix, err := netip.ParsePrefix(strings.TrimSpace(text))
			if err != nil {
				return err
			}
			set.proxies = append(set.proxies, prefix)
		}
		return nil
	})
	flags.TextVar(&set.level, "log-level", slog.LevelInfo, "the least level that is logged: debug, info, warn or error")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: set.level}))
	stores, err := openStores(ctx, set)
	if err != nil {
		return err
	}
	defer stores.close()
	if err := addDemoUsers(ctx, stores.users); err != nil {
		return err
	}
	secret := secretFromEnv(logger)
	factor, err := newFactor(stores.users, secret)
	if err != nil {
		return err
	}
	policy := signet.LoginPolicy{SecondFactor: factor, Decide: rememberMe}
	if stores.throttle != nil {
		policy.Throttle = throttle.New(stores.throttle, throttle.Config{})
	}
	opts := []signet.Option{signet.WithLogger(logger), signet.WithLifetimes(set.lifetimes), signet.WithoutCORS(),
		signet.WithLogin(policy), signet.WithCookies(signet.Cookies{})}
	if len(set.proxies) > 0 {
		opts = append(opts, signet.WithTrustedProxies(set.proxies...))
	}
	if stores.sessions != nil {
		opts = append(opts, signet.WithSessionStore(stores.sessions))
	}
	auth, err := signet.New(stores.users, keys.Secret(secret), opts...)
	if err != nil {
		return err
	}
	defer auth.Close()
	return serve(ctx, set.addr, routes(auth, stores.users, factor))
}

// rememberMe gives a session a longer life if the user wants that.
func rememberMe(_ context.Context, _ userstore.User, remember bool) (d signet.LoginDecision, err error) {
	if remember {
		d.Idle, d.Absolute = 30*24*time.Hour, 90*24*time.Hour
	}
	return d, nil
}

// serve answers until ctx ends, then lets requests under way finish.
func serve(ctx context.Context, addr string, handler http.Handler) error {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
	}
	printWelcome("http://" + listener.Addr().String())
	stopped := make(chan error, 1)
	go func() {
		<-ctx.Done()
		grace, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		stopped <- server.Shutdown(grace)
	}()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-stopped
}

// printWelcome prints commands that can be pasted into a shell, all at once.
func printWelcome(url string) {
	fmt.Printf(`listening on %[1]s

Open %[1]s in a browser: a page shows the login at work. Or paste this into another terminal:

  API=%[1]s/api/v1
  TOKENS=$(curl -s $API/auth/login -H 'Content-Type: application/json' -d '{"email":"john@mail.com","password":"changeme"}'); echo "$TOKENS"
  ACCESS=$(echo "$TOKENS" | sed 's/.*"access_token":"\([^"]*\)".*/\1/'); REFRESH=$(echo "$TOKENS" | sed 's/.*"refresh_token":"\([^"]*\)".*/\1/')
  curl -s $API/auth/profile  -H "Authorization: Bearer $ACCESS"
  curl -s $API/orders        -H "Authorization: Bearer $ACCESS"
  curl -s $API/auth/sessions -H "Authorization: Bearer $ACCESS"
  curl -s $API/auth/refresh-token -H 'Content-Type: application/json' -d "{\"refreshToken\":\"$REFRESH\"}"
  curl -s -X POST $API/auth/logout -H "Authorization: Bearer $ACCESS" -w '%%{http_code}\n'
  curl -s $API/orders        -H "Authorization: Bearer $ACCESS"

`, url)
}

// secretFromEnv returns the value of SIGNET_SECRET. If it is not set, it returns a random secret, and no token of this
// process is valid after it has ended.
func secretFromEnv(logger *slog.Logger) []byte {
	if secret, ok := os.LookupEnv("SIGNET_SECRET"); ok {
		return []byte(secret)
	}
	logger.Warn("SIGNET_SECRET is not set: using a secret made for this run; tokens end when the program does, and so do the second factors in a database")
	return []byte(rand.Text() + rand.Text())
}
