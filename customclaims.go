package signet

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/signet-go/signet/internal/strictjson"
)

// CustomClaims decodes the payload of a verified token into T, usually a struct with json tags for the claims that [WithClaims] adds.
// It returns an error when a claim has another type than T's field, and for claims that are not from a token.
//
// A json tag is exact: a claim "TENANT" is not the field with the tag "tenant". encoding/json alone would take it, so somebody who
// can name claims could replace the ones that the issuer means. A field without a tag takes the claim whose name
// differs in case only, and two such claims are an error.
func CustomClaims[T any](c *Claims) (T, error) {
	var custom T
	if c == nil || c.payload == "" {
		return custom, errors.New("signet.CustomClaims: the claims are not from a verified token, so they have no payload")
	}
	payload, err := exactMembers(c.payload, reflect.TypeFor[T]())
	if err == nil {
		err = json.Unmarshal([]byte(payload), &custom)
	}
	if err != nil {
		return custom, fmt.Errorf("signet.CustomClaims: %w", err)
	}
	return custom, nil
}

var unmarshaler = reflect.TypeFor[json.Unmarshaler]()

// exactMembers returns a JSON value without the object members that are no field of t. The value is valid JSON.
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
		return exactObject(value, fieldsOf(t))
	case object && kind == reflect.Map:
		return rebuild(value, func(string) (reflect.Type, error) { return t.Elem(), nil })
	case array && (kind == reflect.Slice || kind == reflect.Array):
		return exactArray(value, t.Elem())
	}
	return value, nil
}

// member is an object member that a struct takes.
type member struct {
	name   string
	tagged bool // the name must be exact
	typ    reflect.Type
}

// fieldsOf returns the members that a struct takes. Those of an embedded struct are its own, as in encoding/json.
func fieldsOf(t reflect.Type) (fields []member) {
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
			fields = append(fields, fieldsOf(embedded)...)
		case f.IsExported():
			fields = append(fields, member{cmp.Or(name, f.Name), name != "", f.Type})
		}
	}
	return fields
}

func exactObject(object string, fields []member) (string, error) {
	taken := map[string]string{} // by the name of a field without a tag: the claim that it took
	return rebuild(object, func(name string) (reflect.Type, error) {
		for _, f := range fields {
			if f.tagged && f.name == name {
				return f.typ, nil
			}
		}
		for _, f := range fields {
			if f.tagged || !strings.EqualFold(f.name, name) {
				continue
			}
			if other, again := taken[f.name]; again {
				return nil, fmt.Errorf("the names of the claims %q and %q differ in case only; give the field a json tag", other, name)
			}
			taken[f.name] = name
			return f.typ, nil
		}
		return nil, nil
	})
}

// rebuild writes an object with the members that typeOf has a type for.
func rebuild(object string, typeOf func(name string) (reflect.Type, error)) (string, error) {
	b := []byte{'{'}
	s := strictjson.Scan(object)
	for s.Next() {
		t, err := typeOf(s.Name())
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
		b = append(append(strictjson.AppendString(b, s.Name()), ':'), value...)
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
