// Package isnil finds values that a caller has forgotten.
package isnil

import "reflect"

// Value reports whether value is nil or an interface that holds a nil pointer, map, function, channel or slice.
func Value(value any) bool {
	v := reflect.ValueOf(value)
	switch v.Kind() {
	case reflect.Invalid:
		return true
	case reflect.Pointer, reflect.Map, reflect.Func, reflect.Chan, reflect.Slice:
		return v.IsNil()
	}
	return false
}
