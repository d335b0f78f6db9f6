// Package strictjson reads one JSON object, member by member. It refuses what two readers could understand differently: a
// member name that appears twice (at any depth), bytes after the object, invalid UTF-8, lone surrogates in what is read, and
// integers that are written as strings or floats. It allocates only what the caller asks it to build.
//
// It is not a general decoder. It checks the syntax of values that nobody asks for, and skips them. It exists because
// encoding/json accepts duplicate names and lone surrogates, and takes several times as long as the signature check of a
// token.
package strictjson

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// maxDepth bounds the nesting of arrays and objects, so that hostile input cannot exhaust the stack.
const maxDepth = 32

// The faults that a [Scanner] reports. They name no byte and no value, because the text may hold a secret.
var (
	ErrSyntax    = errors.New("not a valid JSON object")
	ErrUTF8      = errors.New("not valid UTF-8")
	ErrDuplicate = errors.New("a member name appears twice")
	ErrDepth     = errors.New("nested too deeply")
	ErrTrailing  = errors.New("bytes follow the JSON object")
	ErrRange     = errors.New("a number is out of range")
)

// MemberError reports a member whose value has the wrong type.
type MemberError struct {
	Name string // the name of the member
	Want string // what it must be, in words
}

// Error says which member is wrong and what it must be.
func (e *MemberError) Error() string { return fmt.Sprintf("member %q must be %s", e.Name, e.Want) }

// Scanner walks over the members of one object:
//
//	s := strictjson.Scan(text)
//	for s.Next() {
//		switch s.Name() {
//		case "sub":
//			sub = s.String()
//		}
//	}
//	err := s.Err()
//
// A Scanner is not safe for concurrent use.
type Scanner struct {
	text  string
	pos   int
	open  bool
	name  string
	value string // the raw text of the current value
	seen  nameSet
	err   error
}

// Scan returns a [Scanner] for text, which must be exactly one JSON object.
func Scan(text string) Scanner { return Scanner{text: text} }

// Name returns the name of the current member, with its escapes resolved.
func (s *Scanner) Name() string { return s.name }

// Raw returns the value of the current member as it stands in the text.
func (s *Scanner) Raw() string { return s.value }

// Err returns the first fault. It returns nil if there was none so far.
func (s *Scanner) Err() error { return s.err }

// Next moves to the next member and checks its value's syntax. It returns false at the end and at the first fault.
func (s *Scanner) Next() bool {
	if s.err != nil {
		return false
	}
	if !s.open {
		if !utf8.ValidString(s.text) {
			return s.fail(ErrUTF8)
		}
		s.pos = skipSpace(s.text, 0)
		if s.pos >= len(s.text) || s.text[s.pos] != '{' {
			return s.fail(ErrSyntax)
		}
		s.open = true
		s.pos++
	}
	name, pos, done, err := nextMember(s.text, s.pos, &s.seen)
	if err != nil {
		return s.fail(err)
	}
	if done {
		if skipSpace(s.text, pos) != len(s.text) {
			s.fail(ErrTrailing)
		}
		return false
	}
	end, err := skipValue(s.text, pos, 1)
	if err != nil {
		return s.fail(err)
	}
	s.name, s.value, s.pos = name, s.text[pos:end], end
	return true
}

func (s *Scanner) fail(err error) bool {
	s.err = err
	return false
}

// Mistyped records that the value of the current member has the wrong type. want says in words what it must be.
// [Scanner.Next] then returns false. [Scanner.Err] reports only the first fault.
func (s *Scanner) Mistyped(want string) {
	if s.err == nil {
		s.err = &MemberError{Name: s.name, Want: want}
	}
}

// String returns the current value, which must be a string.
func (s *Scanner) String() string {
	if s.value[0] != '"' {
		s.Mistyped("a string")
		return ""
	}
	return s.unquote(s.value)
}

// unquote is the function of that name. A fault is one of the whole text.
func (s *Scanner) unquote(quoted string) string {
	text, ok := unquote(quoted)
	if !ok && s.err == nil {
		s.err = ErrSyntax
	}
	return text
}

// Int returns the current value, which must be an integer that fits in 64 bits, written without fraction or exponent.
func (s *Scanner) Int() int64 {
	n, ok := parseInt(s.value)
	if !ok {
		s.Mistyped("an integer")
	}
	return n
}

// Strings returns the current value, which must be an array of strings or one string. One string counts as an array of one.
// These are the two forms of "aud" (RFC 7519 section 4.1.3).
func (s *Scanner) Strings() []string {
	switch s.value[0] {
	case '"':
		return []string{s.unquote(s.value)}
	case '[':
		return s.array()
	}
	s.Mistyped("a string or an array of strings")
	return nil
}

// Ints returns the current value, which must be an array of integers that fit in 64 bits.
func (s *Scanner) Ints() []int64 {
	if s.value[0] != '[' {
		s.Mistyped("an array of integers")
		return nil
	}
	body := strings.TrimSpace(s.value[1 : len(s.value)-1])
	if body == "" {
		return nil
	}
	list := make([]int64, 0, 1+strings.Count(body, ","))
	for text := range strings.SplitSeq(body, ",") {
		n, ok := parseInt(strings.TrimSpace(text))
		if !ok {
			s.Mistyped("an array of integers")
			return nil
		}
		list = append(list, n)
	}
	return list
}

// Objects returns the texts of the elements of the current value, which must be an array of objects. Scan reads each of them.
func (s *Scanner) Objects() []string {
	if s.value[0] != '[' {
		s.Mistyped("an array of objects")
		return nil
	}
	var list []string
	for i := skipSpace(s.value, 1); s.value[i] != ']'; {
		if s.value[i] == ',' {
			i = skipSpace(s.value, i+1)
		}
		if s.value[i] != '{' {
			s.Mistyped("an array of objects")
			return nil
		}
		end, _ := skipObject(s.value, i, 2) // Next has checked it
		list = append(list, s.value[i:end])
		i = skipSpace(s.value, end)
	}
	return list
}

// array reads an array of strings whose syntax skipValue has checked already.
func (s *Scanner) array() []string {
	var list []string
	for i := skipSpace(s.value, 1); s.value[i] != ']'; {
		if s.value[i] == ',' {
			i = skipSpace(s.value, i+1)
		}
		if s.value[i] != '"' {
			s.Mistyped("an array of strings")
			return nil
		}
		end, _ := skipString(s.value, i)
		if list == nil {
			list = make([]string, 0, 1+strings.Count(s.value, ","))
		}
		list = append(list, s.unquote(s.value[i:end]))
		i = skipSpace(s.value, end)
	}
	return list
}

// nameSet remembers the member names of one object. It compares up to 24 names one by one, without an allocation. For more
// it uses a map. Otherwise hostile input could cost time that grows with the square of its length.
type nameSet struct {
	few  [24]string
	n    int
	many map[string]struct{}
}

// add reports whether name is new.
func (s *nameSet) add(name string) bool {
	if s.many != nil {
		_, dup := s.many[name]
		s.many[name] = struct{}{}
		return !dup
	}
	for _, have := range s.few[:s.n] {
		if have == name {
			return false
		}
	}
	if s.n < len(s.few) {
		s.few[s.n] = name
		s.n++
		return true
	}
	s.many = make(map[string]struct{}, 4*len(s.few))
	for _, have := range s.few {
		s.many[have] = struct{}{}
	}
	s.many[name] = struct{}{}
	return true
}

// nextMember reads a comma (except before the first member), a name and a colon. next is then the position of the value. At
// the closing brace done is true, and next is the position after it.
func nextMember(text string, pos int, seen *nameSet) (name string, next int, done bool, err error) {
	pos = skipSpace(text, pos)
	if pos < len(text) && text[pos] == '}' {
		return "", pos + 1, true, nil
	}
	if seen.n > 0 { // a comma stands before every member but the first
		if pos >= len(text) || text[pos] != ',' {
			return "", 0, false, ErrSyntax
		}
		pos = skipSpace(text, pos+1)
	}
	end, err := skipString(text, pos)
	if err != nil {
		return "", 0, false, err
	}
	name, ok := unquote(text[pos:end])
	if !ok {
		return "", 0, false, ErrSyntax
	}
	if !seen.add(name) {
		return "", 0, false, ErrDuplicate
	}
	pos = skipSpace(text, end)
	if pos >= len(text) || text[pos] != ':' {
		return "", 0, false, ErrSyntax
	}
	return name, skipSpace(text, pos+1), false, nil
}
