package feed

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"strconv"

	"github.com/signet-go/signet/internal/revoked"
	"github.com/signet-go/signet/internal/strictjson"
	"github.com/signet-go/signet/session"
)

// The types of the documents ("typ"). They keep them apart from each other and from tokens (RFC 8725 section 3.11).
const (
	listType   = "revocations+jwt"
	statusType = "revocation-status+jwt"
)

const (
	nameBytes   = 16
	recordBytes = nameBytes + 4
	minute      = session.Millis(60_000)
)

// name is what documents call the id of a session or of a user: the first 16 bytes of its SHA-256. That of "" is "".
func name(id string) string {
	if id == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(id))
	return string(sum[:nameBytes])
}

// named returns an entry with names instead of ids.
func named(e session.Entry) session.Entry {
	e.ID, e.Spared = name(e.ID), name(e.Spared)
	return e
}

// list is a part of the log. The ids in its entries are names.
type list struct {
	issuer      string
	time        session.Millis // of the machine that read the log, before it read
	after, next session.Cursor
	more        bool
	entries     []session.Entry
}

// status is what is known about one session and its user. The ids in its entries are names.
type status struct {
	issuer, nonce string
	time          session.Millis
	session       string // a name
	revoked.Status
}

var base64URL = base64.RawURLEncoding.Strict()

// encode returns the payload of the document. A session takes 20 bytes: its name, and the minute until which it matters.
func (l *list) encode() []byte {
	var sessions []byte
	var users, all []session.Entry
	for _, e := range l.entries {
		switch e.Kind {
		case session.SessionRevoked:
			minutes := (min(max(e.KeepUntil, 0), math.MaxUint32*minute) + minute - 1) / minute
			sessions = binary.BigEndian.AppendUint32(append(sessions, e.ID...), uint32(minutes))
		case session.UserCut:
			users = append(users, e)
		case session.AllCut:
			all = append(all, e)
		}
	}
	b := make([]byte, 0, 512+2*len(sessions)+160*len(users))
	b = strictjson.AppendString(append(b, `{"iss":`...), l.issuer)
	b = strconv.AppendInt(append(b, `,"time":`...), int64(l.time), 10)
	b = strictjson.AppendString(append(b, `,"after":`...), string(l.after))
	b = strictjson.AppendString(append(b, `,"next":`...), string(l.next))
	b = strconv.AppendBool(append(b, `,"more":`...), l.more)
	b = append(base64URL.AppendEncode(append(b, `,"sessions":"`...), sessions), '"')
	return append(appendCutoffs(b, users, all), '}')
}

func (s *status) encode() []byte {
	b := strictjson.AppendString([]byte(`{"iss":`), s.issuer)
	b = strconv.AppendInt(append(b, `,"time":`...), int64(s.time), 10)
	b = strictjson.AppendString(append(b, `,"nonce":`...), s.nonce)
	b = appendName(append(b, `,"session":`...), s.session)
	b = strconv.AppendBool(append(b, `,"revoked":`...), s.Revoked)
	b = strconv.AppendInt(append(b, `,"keep":`...), int64(s.KeepUntil), 10)
	b = strconv.AppendInt(append(b, `,"created":`...), int64(s.CreatedAt), 10)
	return append(appendCutoffs(b, []session.Entry{s.User}, []session.Entry{s.All}), '}')
}

func appendCutoffs(b []byte, users, all []session.Entry) []byte {
	b = append(b, `,"users":[`...)
	for i, e := range users {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendName(append(b, `{"key":`...), e.ID)
		b = strconv.AppendInt(append(b, `,"ended":`...), e.Ended, 10)
		b = strconv.AppendInt(append(b, `,"changed":`...), e.Changed, 10)
		b = appendName(append(b, `,"spared":`...), e.Spared)
		b = append(strconv.AppendInt(append(b, `,"keep":`...), int64(e.KeepUntil), 10), '}')
	}
	b = append(b, `],"all":[`...)
	for i, e := range all {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(append(b, `{"group":`...), int64(e.Group), 10)
		b = append(strconv.AppendInt(append(b, `,"ended":`...), e.Ended, 10), '}')
	}
	return append(b, ']')
}

func appendName(b []byte, name string) []byte {
	return append(base64URL.AppendEncode(append(b, '"'), []byte(name)), '"')
}

var errMissing = errors.New("a member is missing")

// members say how the members of an object are read. Others are ignored: a newer version writes them.
type members map[string]func(*strictjson.Scanner)

// read reads a JSON object. All members must be there but the optional ones.
func (m members) read(text string, optional ...string) error {
	s := strictjson.Scan(text)
	found := 0
	for s.Next() {
		if read := m[s.Name()]; read != nil {
			read(&s)
			if !slices.Contains(optional, s.Name()) {
				found++
			}
		}
	}
	if s.Err() == nil && found < len(m)-len(optional) {
		return errMissing
	}
	return s.Err()
}

func text[T ~string](to *T) func(*strictjson.Scanner) {
	return func(s *strictjson.Scanner) { *to = T(s.String()) }
}

func number[T ~int64](to *T) func(*strictjson.Scanner) {
	return func(s *strictjson.Scanner) {
		if *to = T(s.Int()); *to < 0 {
			s.Mistyped("not negative")
		}
	}
}

func truth(to *bool) func(*strictjson.Scanner) {
	return func(s *strictjson.Scanner) {
		if *to = s.Raw() == "true"; !*to && s.Raw() != "false" {
			s.Mistyped("true or false")
		}
	}
}

func objects(to *[]string) func(*strictjson.Scanner) {
	return func(s *strictjson.Scanner) { *to = s.Objects() }
}

// binaryText reads a base64url text of a multiple of size bytes. It may be empty.
func binaryText(to *string, size int) func(*strictjson.Scanner) {
	return func(s *strictjson.Scanner) {
		encoded := s.String()
		b, err := base64URL.DecodeString(encoded)
		if err != nil || base64URL.EncodedLen(len(b)) != len(encoded) || len(b)%size != 0 { // it ignores line breaks
			s.Mistyped("base64url of whole records")
		}
		*to = string(b)
	}
}

// nameText reads a name.
func nameText(to *string, optional bool) func(*strictjson.Scanner) {
	read := binaryText(to, nameBytes)
	return func(s *strictjson.Scanner) {
		if read(s); len(*to) != nameBytes && (*to != "" || !optional) {
			s.Mistyped("the base64url of 16 bytes")
		}
	}
}

// parseList reads a payload.
func parseList(payload string) (l list, err error) {
	var sessions string
	var users, all []string
	err = members{"iss": text(&l.issuer), "time": number(&l.time), "after": text(&l.after), "next": text(&l.next), "more": truth(&l.more),
		"sessions": binaryText(&sessions, recordBytes), "users": objects(&users), "all": objects(&all)}.read(payload)
	if err != nil {
		return list{}, err
	}
	if l.next == session.End || l.more && l.next == l.after {
		return list{}, errors.New("the next cursor leads nowhere")
	}
	l.entries = make([]session.Entry, 0, len(sessions)/recordBytes+len(users)+len(all))
	for ; sessions != ""; sessions = sessions[recordBytes:] {
		minutes := binary.BigEndian.Uint32([]byte(sessions[nameBytes:recordBytes]))
		l.entries = append(l.entries, session.RevokedEntry(sessions[:nameBytes], session.Millis(minutes)*minute))
	}
	cuts, err := parseCutoffs(users, all)
	l.entries = append(l.entries, cuts...)
	return l, err
}

// parseStatus reads a payload.
func parseStatus(payload string) (s status, err error) {
	var users, all []string
	err = members{"iss": text(&s.issuer), "time": number(&s.time), "nonce": text(&s.nonce), "session": nameText(&s.session, false),
		"revoked": truth(&s.Revoked), "keep": number(&s.KeepUntil), "users": objects(&users), "all": objects(&all),
		"created": number(&s.CreatedAt)}.read(payload, "created") // an older service does not write it
	if err == nil && (len(users) != 1 || len(all) != 1) {
		err = errors.New("it is not about one user and one group")
	}
	if err != nil {
		return status{}, err
	}
	cuts, err := parseCutoffs(users, all)
	if err != nil {
		return status{}, err
	}
	s.User, s.All = cuts[0], cuts[1]
	return s, nil
}

func parseCutoffs(users, all []string) (entries []session.Entry, err error) {
	for _, object := range users {
		e := session.Entry{Kind: session.UserCut}
		err := members{"key": nameText(&e.ID, false), "ended": number(&e.Ended), "changed": number(&e.Changed),
			"spared": nameText(&e.Spared, true), "keep": number(&e.KeepUntil)}.read(object)
		if err != nil {
			return nil, err
		}
		entries = append(entries, e)
	}
	for _, object := range all {
		e := session.Entry{Kind: session.AllCut}
		group := func(s *strictjson.Scanner) {
			n := s.Int()
			if n < session.AllGroups || n >= session.Groups {
				s.Mistyped("a group")
			}
			e.Group = int(n)
		}
		if err := (members{"group": group, "ended": number(&e.Ended)}).read(object); err != nil {
			return nil, err
		}
		entries = append(entries, e)
	}
	return entries, nil
}
