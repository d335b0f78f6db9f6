package strictjson

import (
	"encoding/json"
	"unicode/utf8"
)

// AppendString appends text to b as a JSON string. Nearly all strings are plain ASCII without quotes and backslashes: it
// copies them. It passes all others through encoding/json.
func AppendString(b []byte, text string) []byte {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			quoted, _ := json.Marshal(text) // Marshal cannot fail for a string
			return append(b, quoted...)
		}
	}
	return append(append(append(b, '"'), text...), '"')
}

// AppendStrings appends a JSON array of strings to b.
func AppendStrings(b []byte, list []string) []byte {
	b = append(b, '[')
	for i, text := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = AppendString(b, text)
	}
	return append(b, ']')
}
