package session

import (
	"encoding/base64"
	"fmt"
	"strconv"

	"github.com/signet-go/signet/internal/strictjson"
)

// codecVersion is the version of the stored form. A change that older programs would misunderstand raises it. A new member
// that they may ignore does not: they keep the members that they do not know.
const codecVersion = 1

// MarshalJSON returns the stored form of a session: one JSON object, without white space. It keeps the members that
// [Session.UnmarshalJSON] read and did not know. So a row that a newer version of this package has written loses nothing
// when an older version changes it. It never returns an error.
func (s Session) MarshalJSON() ([]byte, error) {
	b := make([]byte, 0, 768+len(s.unknown)) // enough for nearly all
	b = strconv.AppendInt(append(b, `{"v":`...), codecVersion, 10)
	text := func(name, value string) {
		if value != "" {
			b = strictjson.AppendString(append(b, name...), value)
		}
	}
	number := func(name string, value int64) {
		if value != 0 {
			b = strconv.AppendInt(append(b, name...), value, 10)
		}
	}
	text(`,"id":`, s.ID)
	text(`,"user":`, s.UserID)
	b = append(base64.RawURLEncoding.AppendEncode(append(b, `,"secret":"`...), s.SecretHash[:]), '"')
	text(`,"agent":`, s.UserAgent)
	text(`,"addr":`, s.Address)
	if s.Born != (Version{}) {
		b = strconv.AppendInt(append(b, `,"born":[`...), s.Born.All, 10)
		b = append(strconv.AppendInt(append(b, ','), s.Born.User, 10), ']')
	}
	number(`,"created":`, int64(s.CreatedAt))
	number(`,"ends":`, int64(s.EndsAt))
	number(`,"used":`, int64(s.LastUsedAt))
	number(`,"keep":`, int64(s.KeepUntil))
	number(`,"cur":`, s.Current)
	number(`,"par":`, s.Parent)
	number(`,"next":`, s.Next)
	number(`,"sent":`, int64(s.SentAt))
	number(`,"confirmed":`, int64(s.ConfirmedAt))
	if s.Ancestors != (Ancestors{}) { // one flat array: generation, time, generation, time, ...
		b = append(b, `,"anc":[`...)
		for i, a := range s.Ancestors {
			if i > 0 {
				b = append(b, ',')
			}
			b = strconv.AppendInt(b, a.Generation, 10)
			b = strconv.AppendInt(append(b, ','), int64(a.SupersededAt), 10)
		}
		b = append(b, ']')
	}
	number(`,"revoked":`, int64(s.RevokedAt))
	text(`,"reason":`, string(s.Reason))
	number(`,"idle":`, s.Idle)
	text(`,"facts":`, s.Facts)
	text(`,"raised":`, s.Raised)
	number(`,"raisedfrom":`, s.RaisedFrom)
	number(`,"pending":`, int64(s.PendingUntil))
	number(`,"tries":`, s.Tries)
	number(`,"tickets":`, s.Tickets)
	number(`,"ticketsused":`, s.TicketsUsed)
	return append(append(b, s.unknown...), '}'), nil
}

// UnmarshalJSON reads the stored form. It returns an error for a row that a newer version of this package has written in a
// form that this version does not understand: callers must answer 503 then, and never treat the session as gone.
func (s *Session) UnmarshalJSON(text []byte) error {
	*s = Session{}
	var version int64
	var hashErr error
	scan := strictjson.Scan(string(text))
	for scan.Next() {
		switch scan.Name() {
		case "v":
			version = scan.Int()
		case "id":
			s.ID = scan.String()
		case "user":
			s.UserID = scan.String()
		case "secret":
			hashErr = s.SecretHash.UnmarshalText(append(make([]byte, 0, 64), scan.String()...)) // on the stack
		case "agent":
			s.UserAgent = scan.String()
		case "addr":
			s.Address = scan.String()
		case "born":
			if both := scan.Ints(); len(both) == 2 {
				s.Born = Version{All: both[0], User: both[1]}
			}
		case "created":
			s.CreatedAt = Millis(scan.Int())
		case "ends":
			s.EndsAt = Millis(scan.Int())
		case "used":
			s.LastUsedAt = Millis(scan.Int())
		case "keep":
			s.KeepUntil = Millis(scan.Int())
		case "cur":
			s.Current = scan.Int()
		case "par":
			s.Parent = scan.Int()
		case "next":
			s.Next = scan.Int()
		case "sent":
			s.SentAt = Millis(scan.Int())
		case "confirmed":
			s.ConfirmedAt = Millis(scan.Int())
		case "anc":
			s.Ancestors = ancestorsOf(scan.Ints())
		case "revoked":
			s.RevokedAt = Millis(scan.Int())
		case "reason":
			s.Reason = Reason(scan.String())
		case "idle":
			s.Idle = scan.Int()
		case "facts":
			s.Facts = scan.String()
		case "raised":
			s.Raised = scan.String()
		case "raisedfrom":
			s.RaisedFrom = scan.Int()
		case "pending":
			s.PendingUntil = Millis(scan.Int())
		case "tries":
			s.Tries = scan.Int()
		case "tickets":
			s.Tickets = scan.Int()
		case "ticketsused":
			s.TicketsUsed = scan.Int()
		default:
			s.unknown += string(strictjson.AppendString([]byte{','}, scan.Name())) + ":" + scan.Raw()
		}
	}
	switch err := scan.Err(); {
	case version > codecVersion: // whatever else is in it
		return fmt.Errorf("session: the row has version %d, and this program reads versions up to %d", version, codecVersion)
	case err != nil:
		return fmt.Errorf("session: the row cannot be read: %w", err)
	case hashErr != nil:
		return hashErr
	}
	return nil
}

func ancestorsOf(flat []int64) (list Ancestors) {
	for i := 0; i+1 < len(flat) && i/2 < len(list); i += 2 {
		list[i/2] = Ancestor{Generation: flat[i], SupersededAt: Millis(flat[i+1])}
	}
	return list
}
