package main

import (
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/signet-go/signet"
	"github.com/signet-go/signet/totp"
	"github.com/signet-go/signet/userstore"
)

// recent is how long ago users may have authenticated at most, for routes that could hurt them.
const recent = time.Minute

// newFactor returns the second factor: codes of an authenticator app. Its key comes from the service's secret, so that the
// example needs only one. A real program keeps a key of its own.
func newFactor(users userstore.Store, secret []byte) (*totp.Factor, error) {
	store, ok := users.(userstore.FactorStore)
	if !ok {
		return nil, errors.New("the user store keeps no second factors")
	}
	key, err := hkdf.Key(sha256.New, secret, nil, "signet example: totp", 32)
	if err != nil {
		return nil, err
	}
	return totp.New(store, key, totp.WithIssuer("Signet shop"))
}

// factorRoutes let users set up their second factor. Setting it up and removing it need a recent proof of who the user is.
func factorRoutes(mux *http.ServeMux, auth *signet.Auth, factor *totp.Factor) {
	guarded := func(serve func(w http.ResponseWriter, r *http.Request) (int, any, error)) http.Handler {
		return auth.RequireRecentAuth(recent)(answer(serve))
	}
	mux.Handle("GET /api/v1/second-factor", auth.RequireAuth(answer(func(_ http.ResponseWriter, r *http.Request) (int, any, error) {
		enrolled, err := factor.Enrolled(r.Context(), signet.Subject(r.Context()))
		return http.StatusOK, map[string]bool{"enrolled": enrolled}, factorError(err)
	})))
	mux.Handle("POST /api/v1/second-factor", guarded(func(_ http.ResponseWriter, r *http.Request) (int, any, error) {
		subject := signet.Subject(r.Context())
		begun, err := factor.Begin(r.Context(), subject, "user "+subject)
		return http.StatusCreated, map[string]string{"secret": begun.Secret, "uri": begun.URI}, factorError(err)
	}))
	mux.Handle("POST /api/v1/second-factor/confirm", guarded(func(w http.ResponseWriter, r *http.Request) (int, any, error) {
		body, err := readFields(w, r)
		if err != nil {
			return 0, nil, err
		}
		codes, err := factor.Confirm(r.Context(), signet.Subject(r.Context()), body["code"])
		if err != nil {
			return 0, nil, factorError(err)
		}
		endOthers(r, auth)
		return http.StatusCreated, map[string]any{"recovery_codes": codes}, nil
	}))
	mux.Handle("DELETE /api/v1/second-factor", guarded(func(_ http.ResponseWriter, r *http.Request) (int, any, error) {
		if err := factor.Remove(r.Context(), signet.Subject(r.Context())); err != nil {
			return 0, nil, factorError(err)
		}
		endOthers(r, auth)
		return http.StatusOK, map[string]bool{"enrolled": false}, nil
	}))
}

// endOthers ends the other sessions of the user after a change of the factor: they began with the password alone, or with the factor
// that is gone. The change is made already, so an error must not hide the recovery codes.
func endOthers(r *http.Request, auth *signet.Auth) {
	claims, _ := signet.ClaimsFromContext(r.Context()) // behind RequireRecentAuth there are some
	if err := auth.RevokeOtherSessions(auth.ContextWithClient(r), claims.Subject, claims.SessionID); err != nil {
		slog.WarnContext(r.Context(), "the other sessions go on after a change of the second factor", "user", claims.Subject, "error", err)
	}
}

// factorError is the answer for an error of the factor.
func factorError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, totp.ErrEnrolled):
		return signet.NewError(http.StatusConflict, "already_set_up", "the second factor is set up already")
	case errors.Is(err, totp.ErrNotEnrolled), errors.Is(err, userstore.ErrNotFound):
		return signet.NewError(http.StatusConflict, "not_begun", "begin to set the second factor up first")
	case errors.Is(err, totp.ErrWrongCode):
		return signet.NewError(http.StatusUnprocessableEntity, "wrong_code", "the code is wrong")
	}
	return storeError(err)
}
