package signet

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/signet-go/signet/internal/strictjson"
)

// OpenKeyring reads a Keyring from a file or a directory, for fleets that mount secrets, and starts a goroutine that reads it
// again every interval until Close. A file holds a JWK Set, one JWK, or one key in PEM; in a directory every file does, in
// the order of their names, hidden ones left out. The first key that can sign signs, the others are accepted: to rotate,
// add the next key behind the current one everywhere, then put it first everywhere, then remove the old one.
//
// What cannot be read later changes nothing and is reported to onError, unless that is nil. It must be safe for concurrent
// use, and must not call Close, which waits for it. Announce, Rotate and Retire return an error on such a ring: the files
// decide.
func OpenKeyring(path string, interval time.Duration, onError func(error)) (*Keyring, error) {
	if interval < time.Second {
		return nil, fmt.Errorf("signet.OpenKeyring: the interval %v is under 1s", interval)
	}
	if onError == nil {
		onError = func(error) {}
	}
	set, sum, err := readKeyFiles(path)
	if err != nil {
		return nil, fmt.Errorf("signet.OpenKeyring: %w", err)
	}
	r := &Keyring{stop: make(chan struct{}), stopped: make(chan struct{})}
	r.state.Store(set)
	go r.follow(path, sum, interval, onError)
	return r, nil
}

// Close ends the goroutine of OpenKeyring and waits for it. The keys stay as they are. On other rings it does nothing.
func (r *Keyring) Close() error {
	if r.stop == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.stop:
	default:
		close(r.stop)
	}
	<-r.stopped
	return nil
}

func (r *Keyring) follow(path string, sum [sha256.Size]byte, interval time.Duration, onError func(error)) {
	defer close(r.stopped)
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-r.stop:
			return
		case <-ticker.C:
		}
		set, next, err := readKeyFiles(path)
		switch {
		case err != nil:
			onError(fmt.Errorf("signet.OpenKeyring: %w; the keys stay as they were", err))
		case next != sum: // otherwise what was verified stays verified
			r.state.Store(set)
			sum = next
		}
	}
}

func readKeyFiles(path string) (*keySet, [sha256.Size]byte, error) {
	sum := sha256.New()
	names := []string{path}
	if info, err := os.Stat(path); err != nil {
		return nil, [32]byte{}, err
	} else if info.IsDir() {
		entries, err := os.ReadDir(path) // sorted by name
		if err != nil {
			return nil, [32]byte{}, err
		}
		names = nil
		for _, entry := range entries {
			if !entry.IsDir() && !strings.HasPrefix(entry.Name(), ".") {
				names = append(names, filepath.Join(path, entry.Name()))
			}
		}
	}
	var keys []*key
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, [32]byte{}, err
		}
		parsed, err := parseKeyFile(text)
		if err != nil {
			return nil, [32]byte{}, fmt.Errorf("%s: %w", name, err)
		}
		keys = append(keys, parsed...)
		fmt.Fprintf(sum, "%d:%s", len(text), text)
	}
	for _, k := range keys {
		if k.canSign() {
			set, err := newKeySet(k, keys...)
			return set, [32]byte(sum.Sum(nil)), err
		}
	}
	return nil, [32]byte{}, errors.New("no key can sign")
}

func parseKeyFile(text []byte) ([]*key, error) {
	switch trimmed := bytes.TrimSpace(text); {
	case !bytes.HasPrefix(trimmed, []byte("{")):
		k, err := newPEM(text, keySpec{})
		return []*key{k}, err
	case isJWKS(trimmed):
		return parseJWKS(trimmed, true)
	default:
		k, err := parseJWK(trimmed)
		return []*key{k}, err
	}
}

// isJWKS tells a set from a single key by its member "keys".
func isJWKS(text []byte) bool {
	s := strictjson.Scan(string(text))
	for s.Next() {
		if s.Name() == "keys" {
			return true
		}
	}
	return false
}
