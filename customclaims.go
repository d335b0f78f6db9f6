package signet

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/signet-go/signet/internal/strictjson"
)

// CustomClaims decodes the payload of a verified token into T, usually a struct with json tags for the claims that
// [WithClaims] adds. It returns an error if a claim has another type than its field of T, or if the claims are not from
// a token.
//
// A json tag matches exactly: a claim "TENANT" does not fill the field with the tag "tenant". encoding/json ignores
// case, so a user who can name a claim could replace a claim of the issuer. A field without a tag matches the claim
// whose name differs only in case; two such claims are an error. A number in a field of type any is a float64, which rounds
// integers above 2^53: give such a claim a field of its own type.
func CustomClaims[T any](c *Claims) (T, error) {
	var custom T
	if c == nil || c.payload == "" {
		return custom, errors.New("signet.CustomClaims: the claims are not from a verified token, so they have no payload")
	}
	payload, err := exactMembers(strings.TrimSpace(c.payload), reflect.TypeFor[T]())
	if err == nil {
		err = json.Unmarshal([]byte(payload), &custom)
	}
	if err != nil {
		return custom, fmt.Errorf("signet.CustomClaims: %w", err)
	}
	return custom, nil
}

var unmarshaler = reflect.TypeFor[json.Unmarshaler]()

// exactMembers returns a JSON value without the members that have no field in t. The value must be valid JSON.
func exactMembers(value string, t reflect.Type) (string, error) {
	for t.Kind() == reflect.Pointer && !t.Implements(unmarshaler) {
		t = t.Elem()
	}
	if reflect.PointerTo(t).Implements(unmarshaler) {
		return value, nil
	}
	object, array := strings.HasPrefix(value, "{"), strings.HasPrefix(value, "[")
	switch kind := t.Kind(); {
	case object && kind == reflect.Struct:
		return exactObject(value, visible(fieldsOf(t, nil)))
	case object && kind == reflect.Map:
		return rebuild(value, func(name string) (string, reflect.Type, error) { return name, t.Elem(), nil })
	case array && (kind == reflect.Slice || kind == reflect.Array):
		return exactArray(value, t.Elem())
	}
	return value, nil
}

// member is a member of a JSON object that fills a field of a struct.
type member struct {
	name   string
	tagged bool // the name must be exact
	typ    reflect.Type
	rank   int // the lowest of several with one name counts
}

// fieldsOf returns the members that fill the fields of a struct. As in encoding/json, the fields of an embedded struct
// count as fields of the struct. within are the structs in which this one is embedded; one that embeds itself is left out.
func fieldsOf(t reflect.Type, within []reflect.Type) (fields []member) {
	if slices.Contains(within, t) {
		return nil
	}
	for f := range t.Fields() {
		tag := f.Tag.Get("json")
		name, _, _ := strings.Cut(tag, ",")
		embedded := f.Type
		if embedded.Kind() == reflect.Pointer {
			embedded = embedded.Elem()
		}
		switch {
		case tag == "-":
		case f.Anonymous && name == "" && embedded.Kind() == reflect.Struct:
			fields = append(fields, fieldsOf(embedded, append(within, t))...)
		case f.IsExported(), f.Anonymous && embedded.Kind() == reflect.Struct:
			rank := 2 * len(within) // how many structs it is embedded in
			if name == "" {
				rank++
			}
			fields = append(fields, member{cmp.Or(name, f.Name), name != "", f.Type, rank})
		}
	}
	return fields
}

// visible returns the fields that encoding/json fills. Of several fields with one name, the one with the fewest structs around
// it counts, and among these the one with a tag. If there are still two, none of them counts.
func visible(fields []member) []member {
	slices.SortStableFunc(fields, func(a, b member) int { return cmp.Compare(a.rank, b.rank) })
	first, twice := map[string]member{}, map[string]bool{}
	for _, f := range fields {
		if other, again := first[f.name]; !again {
			first[f.name] = f
		} else if other.rank == f.rank {
			twice[f.name] = true
		}
	}
	return slices.DeleteFunc(fields, func(f member) bool { return twice[f.name] || f != first[f.name] })
}

// exactObject names each member exactly as its field, because encoding/json takes the first field whose name differs only in case.
func exactObject(object string, fields []member) (string, error) {
	taken := map[string]string{} // by the name of a field without a tag: the claim that it took
	return rebuild(object, func(name string) (string, reflect.Type, error) {
		at := slices.IndexFunc(fields, func(f member) bool { return f.name == name })
		if at < 0 {
			at = slices.IndexFunc(fields, func(f member) bool { return !f.tagged && strings.EqualFold(f.name, name) })
		}
		if at < 0 {
			return "", nil, nil
		}
		f := fields[at]
		if other, again := taken[f.name]; again && !f.tagged {
			return "", nil, fmt.Errorf("the names of the claims %q and %q differ in case only; give the field a json tag", other, name)
		}
		taken[f.name] = name
		return f.name, f.typ, nil
	})
}

// rebuild returns the object with only those members for which fieldOf returns a type, under the names that it returns.
func rebuild(object string, fieldOf func(name string) (as string, t reflect.Type, err error)) (string, error) {
	b := []byte{'{'}
	s := strictjson.Scan(object)
	for s.Next() {
		name, t, err := fieldOf(s.Name())
		if err != nil {
			return "", err
		}
		if t == nil {
			continue
		}
		value, err := exactMembers(s.Raw(), t)
		if err != nil {
			return "", err
		}
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = append(append(strictjson.AppendString(b, name), ':'), value...)
	}
	return string(append(b, '}')), s.Err()
}

func exactArray(array string, t reflect.Type) (string, error) {
	var list []json.RawMessage
	if err := json.Unmarshal([]byte(array), &list); err != nil {
		return "", err
	}
	for i := range list {
		value, err := exactMembers(string(list[i]), t)
		if err != nil {
			return "", err
		}
		list[i] = json.RawMessage(value)
	}
	rebuilt, err := json.Marshal(list)
	return string(rebuilt), err
}
