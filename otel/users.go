package otel

import (
	"context"

	"github.com/signet-go/signet/userstore"
)

// UserStore returns a [userstore.Store] that does what store does, with a span and a measurement of
// signet.store.duration for each call. It is a [userstore.PasswordUpdater] and a [userstore.FactorStore] only if store
// is. The methods of a [userstore.Writer] are not there: programs that manage users call their own store. It is safe
// for concurrent use, and it panics if store is nil.
func UserStore(store userstore.Store, options ...Option) userstore.Store {
	if store == nil {
		panic("otel: UserStore: the store is nil")
	}
	c := newCalls("user", options)
	u := &users{inner: store, findByEmail: c.method("FindByEmail"), findByID: c.method("FindByID")}
	updates, canUpdate := store.(userstore.PasswordUpdater)
	keeps, canKeep := store.(userstore.FactorStore)
	updater := passwordUpdater{updates, c.method("UpdatePasswordHash")}
	keeper := factors{keeps, c.method("Factor"), c.method("ReplaceFactor")}
	switch {
	case canUpdate && canKeep:
		return struct {
			*users
			passwordUpdater
			factors
		}{u, updater, keeper}
	case canUpdate:
		return struct {
			*users
			passwordUpdater
		}{u, updater}
	case canKeep:
		return struct {
			*users
			factors
		}{u, keeper}
	}
	return u
}

type users struct {
	inner                 userstore.Store
	findByEmail, findByID *method
}

func (u *users) FindByEmail(ctx context.Context, email string) (user userstore.User, err error) {
	err = u.findByEmail.run(ctx, nil, func(ctx context.Context) (err error) {
		user, err = u.inner.FindByEmail(ctx, email)
		return err
	})
	return user, err
}

func (u *users) FindByID(ctx context.Context, id string) (user userstore.User, err error) {
	err = u.findByID.run(ctx, nil, func(ctx context.Context) (err error) {
		user, err = u.inner.FindByID(ctx, id)
		return err
	})
	return user, err
}

type passwordUpdater struct {
	inner  userstore.PasswordUpdater
	update *method
}

func (p passwordUpdater) UpdatePasswordHash(ctx context.Context, id, oldHash, newHash string) error {
	return p.update.run(ctx, nil, func(ctx context.Context) error {
		return p.inner.UpdatePasswordHash(ctx, id, oldHash, newHash)
	})
}

type factors struct {
	inner         userstore.FactorStore
	find, replace *method
}

func (f factors) Factor(ctx context.Context, userID, name string) (value []byte, err error) {
	err = f.find.run(ctx, nil, func(ctx context.Context) (err error) {
		value, err = f.inner.Factor(ctx, userID, name)
		return err
	})
	return value, err
}

func (f factors) ReplaceFactor(ctx context.Context, userID, name string, oldValue, newValue []byte) error {
	return f.replace.run(ctx, nil, func(ctx context.Context) error {
		return f.inner.ReplaceFactor(ctx, userID, name, oldValue, newValue)
	})
}
