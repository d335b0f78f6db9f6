package strictjson

import (
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// skipValue returns the position after the value that starts at pos.
func skipValue(text string, pos, depth int) (int, error) {
	if pos >= len(text) {
		return 0, ErrSyntax
	}
	switch c := text[pos]; {
	case c == '"':
		return skipString(text, pos)
	case c == '{':
		return skipObject(text, pos, depth)
	case c == '[':
		return skipArray(text, pos, depth)
	case c == '-' || isDigit(c):
		return skipNumber(text, pos)
	}
	for _, word := range [...]string{"true", "false", "null"} {
		if strings.HasPrefix(text[pos:], word) {
			return pos + len(word), nil
		}
	}
	return 0, ErrSyntax
}

func skipObject(text string, pos, depth int) (int, error) {
	if depth >= maxDepth {
		return 0, ErrDepth
	}
	var seen nameSet
	pos++
	for {
		_, next, done, err := nextMember(text, pos, &seen)
		if err != nil || done {
			return next, err
		}
		if pos, err = skipValue(text, next, depth+1); err != nil {
			return 0, err
		}
	}
}

func skipArray(text string, pos, depth int) (int, error) {
	if depth >= maxDepth {
		return 0, ErrDepth
	}
	pos = skipSpace(text, pos+1)
	if pos < len(text) && text[pos] == ']' {
		return pos + 1, nil
	}
	for {
		end, err := skipValue(text, pos, depth+1)
		if err != nil {
			return 0, err
		}
		pos = skipSpace(text, end)
		switch {
		case pos < len(text) && text[pos] == ']':
			return pos + 1, nil
		case pos < len(text) && text[pos] == ',':
			pos = skipSpace(text, pos+1)
		default:
			return 0, ErrSyntax
		}
	}
}

// skipString returns the position after the closing quote. It refuses control characters and unknown escapes. It accepts lone
// surrogates, because programs write them where they have cut a text in two; unquote refuses them.
func skipString(text string, pos int) (int, error) {
	if pos >= len(text) || text[pos] != '"' {
		return 0, ErrSyntax
	}
	for pos++; pos < len(text); pos++ {
		switch c := text[pos]; {
		case c == '"':
			return pos + 1, nil
		case c < ' ':
			return 0, ErrSyntax
		case c == '\\':
			n := escapeLen(text[pos:])
			if n == 0 {
				return 0, ErrSyntax
			}
			pos += n - 1
		}
	}
	return 0, ErrSyntax
}

// escapeLen returns the length of the escape sequence at the start of text. It returns 0 if there is no valid one.
func escapeLen(text string) int {
	if len(text) < 2 {
		return 0
	}
	if text[1] != 'u' {
		if strings.IndexByte(`"\/bfnrt`, text[1]) < 0 {
			return 0
		}
		return 2
	}
	r, ok := hexRune(text)
	switch {
	case !ok:
		return 0
	case !utf16.IsSurrogate(r):
		return 6
	}
	low, ok := hexRune(text[6:])
	if !ok || utf16.DecodeRune(r, low) == utf8.RuneError {
		return 6 // it stands alone
	}
	return 12
}

// hexRune reads \uXXXX.
func hexRune(text string) (r rune, ok bool) {
	if len(text) < 6 || text[0] != '\\' || text[1] != 'u' {
		return 0, false
	}
	for _, c := range []byte(text[2:6]) {
		switch {
		case isDigit(c):
			r = r<<4 | rune(c-'0')
		case c >= 'a' && c <= 'f':
			r = r<<4 | rune(c-'a'+10)
		case c >= 'A' && c <= 'F':
			r = r<<4 | rune(c-'A'+10)
		default:
			return 0, false
		}
	}
	return r, true
}

// unquote removes the quotes of a string that skipString accepted, and resolves its escapes. Without escapes it returns a
// slice of the text. It refuses lone surrogates: other readers replace them, each in its own way.
func unquote(quoted string) (text string, ok bool) {
	body := quoted[1 : len(quoted)-1]
	if strings.IndexByte(body, '\\') < 0 {
		return body, true
	}
	plain := make([]byte, 0, len(body))
	for i := 0; i < len(body); {
		if body[i] != '\\' {
			plain = append(plain, body[i])
			i++
			continue
		}
		n := escapeLen(body[i:])
		switch n {
		case 6:
			r, _ := hexRune(body[i:])
			if utf16.IsSurrogate(r) {
				return "", false
			}
			plain = utf8.AppendRune(plain, r)
		case 12:
			high, _ := hexRune(body[i:])
			low, _ := hexRune(body[i+6:])
			plain = utf8.AppendRune(plain, utf16.DecodeRune(high, low))
		default:
			c := body[i+1]
			if at := strings.IndexByte("bfnrt", c); at >= 0 {
				c = "\b\f\n\r\t"[at]
			}
			plain = append(plain, c)
		}
		i += n
	}
	return string(plain), true
}

// skipNumber refuses numbers that no float64 holds (RFC 8259 section 6), because other readers do: encoding/json, golang-jwt.
func skipNumber(text string, pos int) (int, error) {
	first := pos
	digits := func() bool {
		start := pos
		for pos < len(text) && isDigit(text[pos]) {
			pos++
		}
		return pos > start
	}
	if text[pos] == '-' {
		pos++
	}
	start := pos
	if !digits() || text[start] == '0' && pos > start+1 {
		return 0, ErrSyntax
	}
	if pos < len(text) && text[pos] == '.' {
		if pos++; !digits() {
			return 0, ErrSyntax
		}
	}
	if pos < len(text) && (text[pos] == 'e' || text[pos] == 'E') {
		if pos++; pos < len(text) && (text[pos] == '+' || text[pos] == '-') {
			pos++
		}
		if !digits() {
			return 0, ErrSyntax
		}
	} else if pos-first <= maxDigits {
		return pos, nil
	}
	if _, err := strconv.ParseFloat(text[first:pos], 64); err != nil {
		return 0, ErrRange
	}
	return pos, nil
}

// maxDigits is how long a number without an exponent may be so that every float64 holds it. The largest float64 has 309 digits.
const maxDigits = 300

// parseInt reads a value that skipValue accepted.
func parseInt(raw string) (int64, bool) {
	n, err := strconv.ParseInt(raw, 10, 64)
	if err != nil {
		return 0, false
	}
	return n, true
}

func skipSpace(text string, pos int) int {
	for pos < len(text) && (text[pos] == ' ' || text[pos] == '\n' || text[pos] == '\t' || text[pos] == '\r') {
		pos++
	}
	return pos
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }
