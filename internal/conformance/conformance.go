// Package conformance is the part that the conformance kits of this module share. It imports only the standard library. So
// hosts that import a kit in their tests get no other module with it.
package conformance

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// T is the part of [testing.T] that a requirement uses. A requirement that fails ends the test, so only the goroutine of the
// test may check one.
type T interface {
	Helper()
	Fatalf(format string, args ...any)
}

// Broken returns the message of a failed check. It shows the sentence of the contract and what the check did.
func Broken(sentence, format string, args ...any) string {
	return fmt.Sprintf("the contract says: %q\nhere: %s", sentence, fmt.Sprintf(format, args...))
}

// Parallel starts n functions at the same time and returns their errors by index.
func Parallel(n int, run func(i int) error) []error {
	start, done := make(chan struct{}), make(chan struct{})
	errs := make([]error, n)
	for i := range n {
		go func() {
			<-start
			errs[i] = run(i)
			done <- struct{}{}
		}()
	}
	close(start)
	for range n {
		<-done
	}
	return errs
}

// True requires that a condition holds.
func True(t T, ok bool, sentence, format string, args ...any) {
	t.Helper()
	if !ok {
		t.Fatalf("%s", Broken(sentence, format, args...))
	}
}

// NoError requires that there is no error. For the errors of [Parallel], use [errors.Join].
func NoError(t T, err error, sentence, format string, args ...any) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s\nwant: no error\ngot:  %v", Broken(sentence, format, args...), err)
	}
}

// Error requires an error of any kind.
func Error(t T, err error, sentence, format string, args ...any) {
	t.Helper()
	if err == nil {
		t.Fatalf("%s\nwant: an error\ngot:  none", Broken(sentence, format, args...))
	}
}

// ErrorIs requires an error that is target, as [errors.Is] decides.
func ErrorIs(t T, err, target error, sentence, format string, args ...any) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Fatalf("%s\nwant: an error that is %v\ngot:  %v", Broken(sentence, format, args...), target, err)
	}
}

// Same requires an error that is returned as it is, and not wrapped.
func Same(t T, err, want error, sentence, format string, args ...any) {
	t.Helper()
	if err != want {
		t.Fatalf("%s\nwant: exactly the error %v\ngot:  %v", Broken(sentence, format, args...), want, err)
	}
}

// NotErrorIs requires an error that is not target, or no error.
func NotErrorIs(t T, err, target error, sentence, format string, args ...any) {
	t.Helper()
	if errors.Is(err, target) {
		t.Fatalf("%s\nwant: no error that is %v\ngot:  %v", Broken(sentence, format, args...), target, err)
	}
}

// Equal requires that two values are the same, as [reflect.DeepEqual] decides.
func Equal[V any](t T, want, got V, sentence, format string, args ...any) {
	t.Helper()
	if !reflect.DeepEqual(want, got) {
		t.Fatalf("%s%s", Broken(sentence, format, args...), difference(want, got))
	}
}

// SameElements requires that two lists have the same elements, each the same number of times, in any order.
func SameElements[E comparable](t T, want, got []E, sentence, format string, args ...any) {
	t.Helper()
	missing, surplus := slices.Clone(want), []E{}
	for _, element := range got {
		if i := slices.Index(missing, element); i >= 0 {
			missing = slices.Delete(missing, i, i+1)
		} else {
			surplus = append(surplus, element)
		}
	}
	if len(missing)+len(surplus) > 0 {
		t.Fatalf("%s\nwant: %s\ngot:  %s\nmissing: %s\nsurplus: %s", Broken(sentence, format, args...),
			show(want), show(got), show(missing), show(surplus))
	}
}

// difference prints two values. For two structs of one type it prints only the fields that differ.
func difference(want, got any) string {
	w, g := reflect.ValueOf(want), reflect.ValueOf(got)
	if w.Kind() != reflect.Struct || g.Kind() != reflect.Struct || w.Type() != g.Type() {
		return fmt.Sprintf("\nwant: %s\ngot:  %s", show(want), show(got))
	}
	var lines strings.Builder
	for i := range w.NumField() {
		if want, got := w.Field(i).Interface(), g.Field(i).Interface(); !reflect.DeepEqual(want, got) {
			fmt.Fprintf(&lines, "\nwant %s: %s\ngot  %s: %s", w.Type().Field(i).Name, show(want), w.Type().Field(i).Name, show(got))
		}
	}
	return lines.String()
}

// show prints a value in full. It escapes letters outside ASCII, so that letters that look alike can be told apart. It does
// not use the Format methods of sessions and users, because those leave secrets out.
func show(value any) string {
	var parts []string
	switch v := reflect.ValueOf(value); v.Kind() {
	case reflect.String:
		return strconv.QuoteToASCII(v.String())
	case reflect.Struct:
		for i := range v.NumField() {
			parts = append(parts, v.Type().Field(i).Name+": "+show(v.Field(i).Interface()))
		}
	case reflect.Slice:
		for i := range v.Len() {
			parts = append(parts, show(v.Index(i).Interface()))
		}
	default:
		return fmt.Sprintf("%#v", value)
	}
	return "{" + strings.Join(parts, ", ") + "}"
}
