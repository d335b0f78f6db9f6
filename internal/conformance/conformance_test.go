package conformance_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/internal/conformance"
	"github.com/signet-go/signet/internal/conformance/kittest"
)

// secretive hides its second field when it is printed.
type secretive struct{ Name, Secret string }

func (s secretive) Format(state fmt.State, _ rune) { fmt.Fprint(state, s.Name) }

func TestRequirements(t *testing.T) {
	target, other := errors.New("target"), errors.New("other")
	wrapped := fmt.Errorf("wrapped: %w", target)
	for _, tc := range []struct {
		name  string
		check func(t conformance.T)
		want  string // what a failure adds to the message; "-": the check passes
	}{
		{"true", func(t conformance.T) { conformance.True(t, true, "s", "d") }, "-"},
		{"not true", func(t conformance.T) { conformance.True(t, false, "s", "d") }, ""},
		{"no error", func(t conformance.T) { conformance.NoError(t, nil, "s", "d") }, "-"},
		{"no errors", func(t conformance.T) { conformance.NoError(t, errors.Join(nil, nil), "s", "d") }, "-"},
		{"an error", func(t conformance.T) { conformance.NoError(t, other, "s", "d") }, "\nwant: no error\ngot:  other"},
		{"error", func(t conformance.T) { conformance.Error(t, other, "s", "d") }, "-"},
		{"error is nil", func(t conformance.T) { conformance.Error(t, nil, "s", "d") }, "\nwant: an error\ngot:  none"},
		{"is", func(t conformance.T) { conformance.ErrorIs(t, wrapped, target, "s", "d") }, "-"},
		{"is nil", func(t conformance.T) { conformance.ErrorIs(t, nil, nil, "s", "d") }, "-"},
		{"is another", func(t conformance.T) { conformance.ErrorIs(t, other, target, "s", "d") },
			"\nwant: an error that is target\ngot:  other"},
		{"is none", func(t conformance.T) { conformance.ErrorIs(t, nil, target, "s", "d") },
			"\nwant: an error that is target\ngot:  <nil>"},
		{"is not nil", func(t conformance.T) { conformance.ErrorIs(t, target, nil, "s", "d") },
			"\nwant: an error that is <nil>\ngot:  target"},
		{"is not", func(t conformance.T) { conformance.NotErrorIs(t, other, target, "s", "d") }, "-"},
		{"is not, but is", func(t conformance.T) { conformance.NotErrorIs(t, wrapped, target, "s", "d") },
			"\nwant: no error that is target\ngot:  wrapped: target"},
		{"equal", func(t conformance.T) { conformance.Equal(t, []string{"a"}, []string{"a"}, "s", "d") }, "-"},
		{"other number", func(t conformance.T) { conformance.Equal(t, 1, 2, "s", "d") }, "\nwant: 1\ngot:  2"},
		{"other type", func(t conformance.T) { conformance.Equal[any](t, 1, "1", "s", "d") }, "\nwant: 1\ngot:  \"1\""},
		{"nil and empty", func(t conformance.T) { conformance.Equal[any](t, nil, []any{}, "s", "d") }, "\nwant: <nil>\ngot:  {}"},
		{"letters that look alike", func(t conformance.T) { conformance.Equal(t, "\u00e9", "e\u0301", "s", "d") },
			"\nwant: \"\\u00e9\"\ngot:  \"e\\u0301\""},
		{"a hidden field", func(t conformance.T) { conformance.Equal(t, secretive{"a", "b"}, secretive{"a", "c"}, "s", "d") },
			"\nwant Secret: \"b\"\ngot  Secret: \"c\""},
		{"same elements", func(t conformance.T) { conformance.SameElements(t, []int{1, 2, 1}, []int{1, 1, 2}, "s", "d") }, "-"},
		{"no elements", func(t conformance.T) { conformance.SameElements(t, nil, []int{}, "s", "d") }, "-"},
		{"one more often", func(t conformance.T) { conformance.SameElements(t, []int{1, 2, 2}, []int{2, 1, 1}, "s", "d") },
			"\nwant: {1, 2, 2}\ngot:  {2, 1, 1}\nmissing: {2}\nsurplus: {1}"},
		{"one too many", func(t conformance.T) { conformance.SameElements(t, nil, []secretive{{"a", "b"}}, "s", "d") },
			"\nwant: {}\ngot:  {{Name: \"a\", Secret: \"b\"}}\nmissing: {}\nsurplus: {{Name: \"a\", Secret: \"b\"}}"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ended := true
			failures := kittest.Failures(func(r *kittest.Recorder) {
				tc.check(r)
				ended = false
			})
			if tc.want == "-" {
				require.Empty(t, failures)
				require.False(t, ended)
				return
			}
			require.Equal(t, []string{"the contract says: \"s\"\nhere: d" + tc.want}, failures)
			require.True(t, ended)
		})
	}
}

// All functions run at the same time, and each error has the index of its function.
func TestParallel(t *testing.T) {
	const n = 8
	arrived, all := make(chan struct{}, n), make(chan struct{})
	go func() {
		for range n {
			<-arrived
		}
		close(all)
	}()
	want := make([]error, n)
	want[3], want[5] = errors.New("three"), errors.New("five")
	require.Equal(t, want, conformance.Parallel(n, func(i int) error {
		arrived <- struct{}{}
		<-all
		return want[i]
	}))
}
