package signet

import (
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/signet-go/signet/internal/scratch"
	"github.com/signet-go/signet/internal/strictjson"
)

// maxBody is the longest request body, in bytes.
const maxBody = 64 << 10

// field is a text in a request body. It has one of several names, and value receives it.
type field struct {
	names    []string
	value    *string
	optional bool // the client may leave it out, and its value may be of any type
	given    bool // the body has it
}

// textField is a field with one name.
func textField(name string, value *string) field { return field{names: []string{name}, value: value} }

// fieldOf returns the wanted field with that name, or nil. empty says that its value is an empty text. If the field has several
// names, it then counts as absent: a form may have an input for each name.
func fieldOf(want []field, name string, empty bool) *field {
	i := slices.IndexFunc(want, func(f field) bool { return slices.Contains(f.names, name) })
	if i < 0 || empty && len(want[i].names) > 1 {
		return nil
	}
	return &want[i]
}

// readBody reads the wanted fields. All of them must be present and not empty. It ignores other members.
func readBody(w http.ResponseWriter, r *http.Request, want ...field) error {
	media, err := mediaType(r)
	if err != nil {
		return err
	}
	body, err := readAll(w, r)
	if err != nil {
		return err
	}
	if err := parseBody(media, body, want...); err != nil {
		return err
	}
	if err := present(want); err != nil {
		return mislabeled(media, body, err)
	}
	return nil
}

// mislabeled returns the error for a field that the body does not have. It says more if the body is JSON that was sent as a
// form: curl does so by default.
func mislabeled(media, body string, err error) error {
	if media == mediaForm && strings.HasPrefix(strings.TrimSpace(body), "{") {
		return badRequest(asError(err).message + "; the body is JSON, but its Content-Type is that of a form: send application/json")
	}
	return err
}

// present makes sure that all fields were given.
func present(want []field) error {
	for _, f := range want {
		if *f.value == "" && !f.optional {
			return badRequest(fmt.Sprintf("field %q is missing or empty", f.names[0]))
		}
	}
	return nil
}

const (
	mediaJSON = "application/json"
	mediaForm = "application/x-www-form-urlencoded"
)

// mediaType returns the type of the body. Many clients of the contract send forms. Headers with the same name are one list (RFC
// 9110 section 5.3), and a list is no media type.
func mediaType(r *http.Request) (string, error) {
	if encoding := strings.Join(r.Header["Content-Encoding"], ", "); encoding != "" && !strings.EqualFold(encoding, "identity") {
		return "", unsupported("send the body without Content-Encoding")
	}
	sent := strings.Join(r.Header["Content-Type"], ", ")
	if sent == mediaJSON { // nearly always
		return sent, nil
	}
	media, _, err := mime.ParseMediaType(sent)
	if err != nil || media != mediaJSON && media != mediaForm {
		return "", unsupported("send application/json")
	}
	return media, nil
}

func unsupported(message string) error {
	return &Error{status: http.StatusUnsupportedMediaType, code: "unsupported_media_type", message: message,
		kind: ErrInvalidRequest}
}

// readAll reads a body of bounded length.
func readAll(w http.ResponseWriter, r *http.Request) (string, error) {
	if r.Body == nil { // a request that no server has made
		return "", nil
	}
	if r.ContentLength > maxBody { // before a byte was read, and before the client is asked to go on
		return "", bodyTooLarge(maxBody)
	}
	body := scratch.Get()
	defer scratch.Put(body)
	_, err := body.ReadFrom(http.MaxBytesReader(w, r.Body, maxBody))
	switch {
	case err == nil && body.Len() == 0 && len(r.PostForm) > 0: // a middleware has read the form
		return r.PostForm.Encode(), nil
	case err == nil:
		return body.String(), nil
	case errors.Is(err, os.ErrDeadlineExceeded): // the server's ReadTimeout
		return "", errTooSlow
	}
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok { // the host may have a smaller limit
		return "", bodyTooLarge(tooLarge.Limit)
	}
	return "", badRequest("the body could not be read")
}

var errTooSlow = &Error{status: http.StatusRequestTimeout, code: "request_timeout", message: "the body came too slowly", kind: ErrInvalidRequest}

func bodyTooLarge(limit int64) *Error {
	return &Error{status: http.StatusRequestEntityTooLarge, code: "body_too_large",
		message: fmt.Sprintf("the body is longer than %d bytes", limit), kind: ErrInvalidRequest}
}

// parseBody reads the wanted fields that are present. A name that appears twice is an error, because another parser
// could read the other value.
func parseBody(media, body string, want ...field) error {
	if media == mediaForm {
		return parseForm(body, want...)
	}
	if strings.TrimSpace(body) == "" {
		return badRequest("the body is malformed: it is empty")
	}
	s := strictjson.Scan(body)
	for s.Next() {
		f := fieldOf(want, s.Name(), s.Raw() == `""`)
		switch {
		case f == nil, s.Raw() == "null": // null is an absent member
			continue
		case f.given:
			return twice(*f)
		case f.optional:
			*f.value = strings.Trim(s.Raw(), `"`)
		default:
			*f.value = s.String()
		}
		f.given = true
	}
	var mistyped *strictjson.MemberError
	switch err := s.Err(); {
	case errors.As(err, &mistyped): // the name is from want and not from the client, so it may be shown
		return badRequest(fmt.Sprintf("field %q must be %s", mistyped.Name, mistyped.Want))
	case err != nil:
		return badRequest("the body is malformed: " + err.Error())
	}
	return nil
}

func parseForm(body string, want ...field) error {
	form, err := url.ParseQuery(body)
	if err != nil {
		return badRequest("the body is malformed: it is no form")
	}
	for name, values := range form {
		f := fieldOf(want, name, len(values) == 1 && values[0] == "")
		switch {
		case f == nil:
			continue
		case f.given, len(values) > 1:
			return twice(*f)
		case !utf8.ValidString(values[0]):
			return badRequest("the body is malformed: " + strictjson.ErrUTF8.Error())
		}
		f.given, *f.value = true, values[0]
	}
	return nil
}

// isYes reads an optional yes or no, as JSON and forms write it.
func isYes(text string) bool {
	switch text {
	case "true", "1", "on", "yes":
		return true
	}
	return false
}

func twice(f field) error {
	return badRequest(`field "` + strings.Join(f.names, `" or "`) + `" appears twice`)
}

// writeJSON answers 200.
func writeJSON(w http.ResponseWriter, value any) error {
	body := scratch.Get()
	defer scratch.Put(body)
	if err := json.NewEncoder(body).Encode(value); err != nil {
		return internal(fmt.Errorf("encode the answer: %w", err))
	}
	writeBody(w, http.StatusOK, body.Bytes())
	return nil
}

func writeBody(w http.ResponseWriter, status int, body []byte) {
	setHeaders(w.Header(), [][2]string{
		{"Content-Type", "application/json; charset=utf-8"}, {"Cache-Control", "no-store"}, {"X-Content-Type-Options", "nosniff"}})
	w.WriteHeader(status)
	w.Write(body)
}

// setHeaders is Header.Set for some headers, with one allocation for all of them. The names are in their canonical form.
func setHeaders(h http.Header, headers [][2]string) {
	values := make([]string, len(headers))
	for i, header := range headers {
		values[i] = header[1]
		h[header[0]] = values[i : i+1 : i+1] // Header.Add must not write into the next one
	}
}

func noContent(w http.ResponseWriter) {
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusNoContent)
}
