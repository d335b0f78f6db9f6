package signet

import (
	"net/http"
	"strings"

	"github.com/signet-go/signet/session"
)

// LogoutHandler serves POST and ends one session: that of {"refreshToken": ...} in the body, or, without a body, that of the
// access token in the Authorization header. Expired tokens will do. It answers 204, also when the session is gone already,
// and only after the store has committed; see Logout.
func (a *Auth) LogoutHandler() http.Handler {
	return a.handler(func(w http.ResponseWriter, r *http.Request) error {
		token, err := a.logoutToken(w, r)
		if err != nil {
			return err
		}
		if err := a.Logout(r.Context(), token); err != nil {
			return err
		}
		return noContent(w)
	}, http.MethodPost)
}

func (a *Auth) logoutToken(w http.ResponseWriter, r *http.Request) (token string, err error) {
	body, err := a.readAll(w, r)
	if err != nil {
		return "", err
	}
	if text := strings.TrimSpace(body); text == "" || text == "{}" && r.Header.Get("Authorization") != "" {
		return bearerToken(r) // some clients send {} with every POST
	}
	if err := checkMediaType(r); err != nil {
		return "", err
	}
	err = parseBody(body, field{"refreshToken", &token})
	return token, err
}

// LogoutAllHandler serves POST with an access token and ends all sessions of its user, this one too. It answers 204.
func (a *Auth) LogoutAllHandler() http.Handler {
	return a.handler(func(w http.ResponseWriter, r *http.Request) error {
		claims, err := a.check(r)
		if err != nil {
			return err
		}
		if err := a.revokeUser(r.Context(), claims.Subject, session.ReasonLogout); err != nil {
			return err
		}
		return noContent(w)
	}, http.MethodPost)
}

// SessionsHandler serves a user's own sessions to the holder of an access token: GET lists the live ones (see SessionInfo),
// DELETE with an id ends one and answers 204. The id is the path value "id", as in
//
//	mux.Handle("GET /sessions", auth.SessionsHandler())
//	mux.Handle("DELETE /sessions/{id}", auth.SessionsHandler())
func (a *Auth) SessionsHandler() http.Handler {
	return a.handler(func(w http.ResponseWriter, r *http.Request) error {
		if r.Method == http.MethodDelete {
			return a.deleteSession(w, r)
		}
		return a.listSessions(w, r)
	}, http.MethodGet, http.MethodHead, http.MethodDelete)
}

func (a *Auth) listSessions(w http.ResponseWriter, r *http.Request) error {
	claims, err := a.check(r)
	if err != nil {
		return err
	}
	list, err := a.Sessions(r.Context(), claims.Subject)
	if err != nil {
		return err
	}
	for i := range list {
		list[i].Current = list[i].ID == claims.SessionID
	}
	return writeJSON(w, http.StatusOK, map[string]any{"sessions": list})
}

func (a *Auth) deleteSession(w http.ResponseWriter, r *http.Request) error {
	claims, err := a.check(r)
	if err != nil {
		return err
	}
	found, err := a.revoke(r.Context(), r.PathValue("id"), session.ReasonLogout, func(row session.Session) error {
		if row.UserID != claims.Subject {
			return errNotFound
		}
		return nil
	})
	if err == nil && !found {
		err = errNotFound // the same as for another user's
	}
	if err != nil {
		return err
	}
	return noContent(w)
}

// sessionID takes the id out of a path below Handler's prefix.
func sessionID(name string) (id string, ok bool) {
	id, ok = strings.CutPrefix(name, "sessions/")
	return id, ok && id != "" && !strings.Contains(id, "/")
}

func noContent(w http.ResponseWriter) error {
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusNoContent)
	return nil
}
