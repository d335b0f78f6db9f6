package main

import (
	"embed"
	"io/fs"
	"net/http"

	"github.com/signet-go/signet"
	clientjs "github.com/signet-go/signet/client/js"
)

//go:embed page
var pageFiles embed.FS

// page serves the page on which a person sees the login at work, and the JavaScript client that it uses.
func page(mux *http.ServeMux, auth *signet.Auth) {
	files, err := fs.Sub(pageFiles, "page")
	if err != nil {
		panic(err) // the folder is a part of the program
	}
	server := http.FileServerFS(files)
	for _, path := range []string{"GET /{$}", "GET /page.js", "GET /page.css"} {
		mux.Handle(path, strictPage(server))
	}
	mux.HandleFunc("GET /favicon.ico", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.Handle("GET /signet.js", strictPage(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/javascript; charset=utf-8")
		w.Write(clientjs.Module)
	})))
	// In cookie mode no script can read the token, so the server tells what is in it.
	mux.Handle("GET /api/v1/claims", auth.RequireAuth(http.HandlerFunc(showClaims)))
	mux.Handle("POST /api/v1/transfer", auth.RequireRecentAuth(recent)(http.HandlerFunc(transfer)))
}

// strictPage allows the page nothing that is not its own: no inline script or style, no frame, no other origin.
func strictPage(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-cache")
		next.ServeHTTP(w, r)
	})
}

func showClaims(w http.ResponseWriter, r *http.Request) {
	claims, _ := signet.ClaimsFromContext(r.Context())
	all, err := signet.CustomClaims[map[string]any](claims)
	if err != nil {
		signet.WriteError(w, err)
		return
	}
	writeJSON(w, http.StatusOK, all)
}

// transfer is a route for users who have shown just now who they are.
func transfer(w http.ResponseWriter, r *http.Request) {
	writeJSON(w, http.StatusOK, map[string]string{"from": signet.Subject(r.Context()), "status": "transferred"})
}
