package client_test

import (
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet"
	"github.com/signet-go/signet/client"
	"github.com/signet-go/signet/userstore"
)

// fullDisk is a store in memory. While full is set, it cannot save.
type fullDisk struct {
	client.Memory
	full atomic.Bool
}

var errFull = errors.New("no space left on device")

func (s *fullDisk) Save(ctx context.Context, tokens client.Tokens) error {
	if s.full.Load() {
		return errFull
	}
	return s.Memory.Save(ctx, tokens)
}

// onDisk is bubble with such a store.
func onDisk(t *testing.T, test func(t *testing.T, auth *signet.Auth, c *client.Client, store *fullDisk, d *direct), opts ...signet.Option) {
	synctest.Test(t, func(t *testing.T) {
		auth, handler := newHandler(t, opts...)
		defer auth.Close()
		d, store := &direct{handler: handler}, &fullDisk{}
		c, err := client.New("http://service/auth", client.WithTransport(d), client.WithStore(store))
		require.NoError(t, err)
		require.NoError(t, c.Login(t.Context(), "john@mail.com", "changeme"))
		test(t, auth, c, store, d)
	})
}

// While the store cannot save, no refresh and no step-up is sent: the new tokens would be lost, and a service with strict rotation
// sends them only once. When the store can save again, the session goes on.
func TestAStoreThatCannotSave(t *testing.T) {
	onDisk(t, func(t *testing.T, _ *signet.Auth, c *client.Client, store *fullDisk, d *direct) {
		store.full.Store(true)
		require.ErrorIs(t, c.StepUp(t.Context(), "changeme"), errFull)
		store.full.Store(false)
		require.NoError(t, c.StepUp(t.Context(), "changeme"))
		for range 3 {
			time.Sleep(100 * time.Second)
			before := d.refreshes.Load()
			store.full.Store(true)
			for range 20 {
				_, _, err := c.Token(t.Context())
				require.ErrorIs(t, err, errFull)
				require.Equal(t, before, d.refreshes.Load())
				time.Sleep(time.Second)
			}
			store.full.Store(false)
			_, _, err := c.Token(t.Context())
			require.NoError(t, err)
			require.Equal(t, before+1, d.refreshes.Load())
		}
	}, slow, signet.WithStrictRotation(), signet.WithLogin(signet.LoginPolicy{
		Decide: func(context.Context, userstore.User, bool) (signet.LoginDecision, error) {
			return signet.LoginDecision{}, nil
		}}))
}

// Two processes share a store that cannot save for a while. Neither of them is taken for a thief.
func TestTwoProcessesAndAFullStore(t *testing.T) {
	for _, pause := range []time.Duration{2 * time.Second, 15 * time.Second, time.Minute} {
		onDisk(t, func(t *testing.T, _ *signet.Auth, c *client.Client, store *fullDisk, d *direct) {
			other, err := client.New("http://service/auth", client.WithTransport(d), client.WithStore(store))
			require.NoError(t, err)
			_, _, err = other.Token(t.Context())
			require.NoError(t, err)
			time.Sleep(100 * time.Second)
			store.full.Store(true)
			for range 3 {
				for _, process := range []*client.Client{c, other} {
					_, _, err = process.Token(t.Context())
					require.ErrorIs(t, err, errFull)
					time.Sleep(pause)
				}
			}
			store.full.Store(false)
			for range 4 {
				for _, process := range []*client.Client{c, other} {
					_, _, err = process.Token(t.Context())
					require.NoError(t, err, pause)
					time.Sleep(50 * time.Second)
				}
			}
		}, slow, signet.WithReuseWindow(0))
	}
}

// A login whose tokens nobody gets leaves no session behind.
func TestALoginThatCannotBeKept(t *testing.T) {
	onDisk(t, func(t *testing.T, auth *signet.Auth, c *client.Client, store *fullDisk, _ *direct) {
		require.NoError(t, c.Logout(t.Context()))
		store.full.Store(true)
		require.ErrorIs(t, c.Login(t.Context(), "john@mail.com", "changeme"), errFull)
		store.full.Store(false)
		unlock, err := store.Lock(t.Context()) // of another process
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, c.Login(ctx, "john@mail.com", "changeme"), context.DeadlineExceeded)
		unlock()
		synctest.Wait()
		list, err := auth.Sessions(t.Context(), "1")
		require.NoError(t, err)
		require.Empty(t, list)
		_, _, err = c.Token(t.Context())
		require.ErrorIs(t, err, client.ErrSignedOut)
	})
}

// A transport that panics ends no program, although nobody waits for the end of such a session.
func TestAPanicWhileNobodyWaits(t *testing.T) {
	onDisk(t, func(t *testing.T, _ *signet.Auth, c *client.Client, store *fullDisk, d *direct) {
		panicked := make(chan struct{}, 1)
		d.before = func(r *http.Request) (*http.Response, error) {
			if r.URL.Path == "/auth/logout" {
				panicked <- struct{}{}
				panic("a fault of the transport")
			}
			return nil, nil
		}
		unlock, err := store.Lock(t.Context())
		require.NoError(t, err)
		defer unlock()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, c.Login(ctx, "john@mail.com", "changeme"), context.DeadlineExceeded)
		<-panicked
	})
}

// slowUnlock is a store whose unlock takes a while, as on a server.
type slowUnlock struct{ client.Memory }

func (s *slowUnlock) Lock(ctx context.Context) (unlock func(), err error) {
	held, err := s.Memory.Lock(ctx)
	return func() { time.Sleep(200 * time.Millisecond); held() }, err
}

// A token that is refused while the refresh that has brought it still ends is not returned again.
func TestATokenThatIsRefusedWhileItsRefreshEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		auth, handler := newHandler(t)
		defer auth.Close()
		d := &direct{handler: handler}
		c, err := client.New("http://service/auth", client.WithTransport(d), client.WithStore(&slowUnlock{}))
		require.NoError(t, err)
		require.NoError(t, c.Login(t.Context(), "john@mail.com", "changeme"))
		var mu sync.Mutex
		tokens := map[string][]string{}
		d.before = func(r *http.Request) (*http.Response, error) {
			if r.URL.Path != "/echo" {
				return nil, nil
			}
			mu.Lock()
			defer mu.Unlock()
			name := r.Header.Get("Name")
			tokens[name] = append(tokens[name], r.Header.Get("Authorization"))
			if len(tokens[name]) == 1 { // each request is refused once
				return &http.Response{StatusCode: 401, Header: http.Header{}, Body: http.NoBody}, nil
			}
			return nil, nil
		}
		var all sync.WaitGroup
		for _, name := range []string{"one", "other"} {
			all.Go(func() {
				r, _ := http.NewRequest("GET", "http://service/echo", nil)
				r.Header.Set("Name", name)
				answer, err := c.Transport(d).RoundTrip(r)
				if err != nil || answer.StatusCode != 200 {
					t.Errorf("%s: %v, %v", name, answer, err)
				}
			})
			time.Sleep(100 * time.Millisecond) // the refresh of the first one is over, and its unlock is not
		}
		all.Wait()
		require.Len(t, tokens["one"], 2)
		require.Len(t, tokens["other"], 2)
		require.Equal(t, tokens["one"][1], tokens["other"][0])
		require.NotEqual(t, tokens["other"][0], tokens["other"][1], "it was refused")
	})
}

// Two processes that name one file by a path and by a symbolic link share it.
func TestASymbolicLinkToAFile(t *testing.T) {
	dir := t.TempDir()
	path, link := filepath.Join(dir, "tokens"), filepath.Join(dir, "link")
	require.NoError(t, os.Symlink("tokens", link)) // to a file that does not exist yet
	one, other := client.NewFile(path), client.NewFile(link)
	for _, store := range []*client.File{other, one, other} {
		tokens := client.Tokens{AccessToken: rand.Text(), RefreshToken: rand.Text(), ExpiresIn: 60}
		require.NoError(t, store.Save(t.Context(), tokens))
		for _, reader := range []*client.File{one, other} {
			read, err := reader.Load(t.Context())
			require.NoError(t, err)
			require.Equal(t, tokens.RefreshToken, read.RefreshToken)
		}
	}
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "a", "b"), 0o700)) // a link with ".." in a directory that is a link
	require.NoError(t, os.Symlink(filepath.Join("a", "b"), filepath.Join(dir, "alias")))
	require.NoError(t, os.Symlink(filepath.Join("..", "..", "tokens"), filepath.Join(dir, "a", "b", "link")))
	far := client.NewFile(filepath.Join(dir, "alias", "link"))
	require.NoError(t, far.Save(t.Context(), client.Tokens{AccessToken: "a", RefreshToken: "far", ExpiresIn: 60}))
	near, err := one.Load(t.Context())
	require.NoError(t, err)
	require.Equal(t, "far", near.RefreshToken)
	require.NoError(t, os.Symlink(path, filepath.Join(dir, "absolute")))
	require.NoError(t, client.NewFile(filepath.Join(dir, "absolute")).Save(t.Context(), client.Tokens{AccessToken: "a", RefreshToken: "absolute", ExpiresIn: 60}))
	near, err = one.Load(t.Context())
	require.NoError(t, err)
	require.Equal(t, "absolute", near.RefreshToken)
	unlock, err := one.Lock(t.Context())
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err = other.Lock(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	unlock()
	require.NoError(t, other.Save(t.Context(), client.Tokens{}))
	read, err := one.Load(t.Context())
	require.NoError(t, err)
	require.Zero(t, read)
}

// A new process uses the token of the store without waiting: for another process that holds the lock, or for a service that is away.
func TestTheFirstCallOfAProcess(t *testing.T) {
	onDisk(t, func(t *testing.T, _ *signet.Auth, c *client.Client, store *fullDisk, d *direct) {
		token, expiry, err := c.Token(t.Context())
		require.NoError(t, err)
		unlock, err := store.Lock(t.Context())
		require.NoError(t, err)
		defer unlock()
		for _, left := range []time.Duration{90 * time.Second, 6 * time.Second} { // good, and due
			time.Sleep(time.Until(expiry) - left)
			other, err := client.New("http://service/auth", client.WithTransport(d), client.WithStore(store))
			require.NoError(t, err)
			start := time.Now()
			got, _, err := other.Token(t.Context())
			require.NoError(t, err)
			require.Equal(t, token, got)
			require.Zero(t, time.Since(start))
		}
	}, slow)
}

// A tool that makes its directory at the login is signed out before.
func TestNobodyIsSignedInWithoutADirectory(t *testing.T) {
	onDisk(t, func(t *testing.T, _ *signet.Auth, _ *client.Client, _ *fullDisk, d *direct) {
		store := client.NewFile(filepath.Join(t.TempDir(), "none", "tokens"))
		c, err := client.New("http://service/auth", client.WithTransport(d), client.WithStore(store))
		require.NoError(t, err)
		_, _, err = c.Token(t.Context())
		require.ErrorIs(t, err, client.ErrSignedOut)
		require.NoError(t, c.Logout(t.Context()))
		require.ErrorIs(t, c.Login(t.Context(), "john@mail.com", "changeme"), fs.ErrNotExist)
	})
}

// A process that was stopped keeps the lock. The others say so, and do not wait for ever.
func TestALockThatIsNotGivenBack(t *testing.T) {
	onDisk(t, func(t *testing.T, _ *signet.Auth, _ *client.Client, _ *fullDisk, d *direct) {
		path := filepath.Join(t.TempDir(), "tokens")
		unlock, err := client.NewFile(path).Lock(t.Context())
		require.NoError(t, err)
		defer unlock()
		c, err := client.New("http://service/auth", client.WithTransport(d), client.WithStore(client.NewFile(path)))
		require.NoError(t, err)
		began := time.Now()
		err = c.Login(t.Context(), "john@mail.com", "changeme")
		require.ErrorIs(t, err, client.ErrUnavailable)
		require.ErrorContains(t, err, path+".lock")
		require.InDelta(t, 60, time.Since(began).Seconds(), 1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = client.NewFile(path).Lock(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, path+".lock")
	})
}

// A process that was killed while it saved leaves a file with tokens.
func TestAFileThatWasHalfSaved(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens")
	half := func() {
		require.NoError(t, os.WriteFile(path+".123.new", []byte("half"), 0o400))
		old := time.Now().Add(-2 * time.Minute)
		require.NoError(t, os.Chtimes(path+".123.new", old, old))
	}
	require.NoError(t, os.WriteFile(path+".456.new", []byte("of a process that saves now"), 0o600))
	other := path + "other.1.new"
	require.NoError(t, os.WriteFile(other, nil, 0o600))
	require.NoError(t, os.Chtimes(other, time.Unix(0, 0), time.Unix(0, 0)))
	store := client.NewFile(path)
	want := client.Tokens{AccessToken: "a", RefreshToken: "r"}
	half()
	require.NoError(t, store.Save(t.Context(), want))
	require.NoFileExists(t, path+".123.new")
	require.FileExists(t, path+".456.new")
	got, err := store.Load(t.Context())
	require.NoError(t, err)
	require.Equal(t, want, got)
	half()
	require.NoError(t, store.Save(t.Context(), client.Tokens{}))
	files, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, files, 1, "that of another program")
}

// Any number of stores may save at once, also without the lock.
func TestFilesThatSaveAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens")
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			store, tokens := client.NewFile(path), client.Tokens{AccessToken: strings.Repeat("a", i+1), RefreshToken: "r"}
			for range 50 {
				assert.NoError(t, store.Save(t.Context(), tokens))
				_, err := store.Load(t.Context())
				assert.NoError(t, err)
			}
		})
	}
	all.Wait()
}
