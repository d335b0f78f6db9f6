package client

import (
	"context"
	"fmt"
	"sync"
)

// TokenStore keeps the pair of one session. Implementations must be safe for concurrent use, and their errors must not
// contain tokens.
type TokenStore interface {
	// Load returns the stored pair, or the zero Tokens if there is none.
	Load(ctx context.Context) (Tokens, error)
	// Save replaces the stored pair as a whole, durably. The zero Tokens removes it. Load must never see a half of it. Before a
	// refresh the client saves the pair in use once more: a store that cannot save must not cost the next pair.
	Save(ctx context.Context, tokens Tokens) error
	// Lock waits until nobody else holds the lock of this session, among all processes that share the store. The client
	// holds it during a refresh, a logout, a step-up and the end of a login. Load and Save do not need it. unlock is called once.
	// Lock returns the error of ctx if that ends first.
	Lock(ctx context.Context) (unlock func(), err error)
}

// Memory keeps the tokens in this process. The zero value is ready. It must not be copied after its first use. It is safe for
// concurrent use. The only error is that of Lock.
type Memory struct {
	mu     sync.Mutex
	tokens Tokens
	lock   chan struct{} // has room for one holder
}

// Format implements [fmt.Formatter]. It prints only the name of the type.
func (m *Memory) Format(s fmt.State, _ rune) { fmt.Fprint(s, "client.Memory") }

// Load returns the pair.
func (m *Memory) Load(context.Context) (Tokens, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.tokens, nil
}

// Save replaces the pair.
func (m *Memory) Save(_ context.Context, tokens Tokens) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tokens = tokens
	return nil
}

// Lock waits for the other holder. If ctx ends first, it returns the error of ctx.
func (m *Memory) Lock(ctx context.Context) (unlock func(), err error) {
	m.mu.Lock()
	if m.lock == nil {
		m.lock = make(chan struct{}, 1)
	}
	lock := m.lock
	m.mu.Unlock()
	select {
	case lock <- struct{}{}:
		return func() { <-lock }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
