// Package conformance is what the conformance kits of this module share. It needs the standard library alone: hosts import the
// kits in their tests, and get no other module by that.
package conformance

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// T is what a requirement needs of a *testing.T. A requirement that fails ends the test, so only the test's own goroutine may
// ask for one.
type T interface {
	Helper()
	Fatalf(format string, args ...any)
}

// Broken is the message of a failed check: the sentence of the contract, and what was done.
func Broken(sentence, format string, args ...any) string {
	return fmt.Sprintf("the contract says: %q\nhere: %s", sentence, fmt.Sprintf(format, args...))
}

// Parallel runs n functions, which all start at once, and returns their errors by index.
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

// True wants a condition to hold.
func True(t T, ok bool, sentence, format string, args ...any) {
	t.Helper()
	if !ok {
		t.Fatalf("%s", Broken(sentence, format, args...))
	}
}

// NoError wants no error. errors.Join makes one of those that Parallel returns.
func NoError(t T, err error, sentence, format string, args ...any) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s\nwant: no error\ngot:  %v", Broken(sentence, format, args...), err)
	}
}

// Error wants an error, whatever it is.
func Error(t T, err error, sentence, format string, args ...any) {
	t.Helper()
	if err == nil {
		t.Fatalf("%s\nwant: an error\ngot:  none", Broken(sentence, format, args...))
	}
}

// ErrorIs wants an error that is target, by errors.Is.
func ErrorIs(t T, err, target error, sentence, format string, args ...any) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Fatalf("%s\nwant: an error that is %v\ngot:  %v", Broken(sentence, format, args...), target, err)
	}
}

// NotErrorIs wants an error that is not target, or none.
func NotErrorIs(t T, err, target error, sentence, format string, args ...any) {
	t.Helper()
	if errors.Is(err, target) {
		t.Fatalf("%s\nwant: no error that is %v\ngot:  %v", Broken(sentence, format, args...), target, err)
	}
}

// Equal wants two values to be the same, by reflect.DeepEqual.
func Equal[V any](t T, want, got V, sentence, format string, args ...any) {
	t.Helper()
	if !reflect.DeepEqual(want, got) {
		t.Fatalf("%s%s", Broken(sentence, format, args...), difference(want, got))
	}
}

// SameElements wants two lists to have the same elements, each as often, in any order.
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

// difference prints two values, and of two structs only the fields that differ.
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

// show prints a value in full: letters that look alike are told apart, and the Format methods of sessions and users, which
// leave secrets out, are not asked.
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
