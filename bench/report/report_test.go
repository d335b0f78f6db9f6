package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The numbers in sample.txt are round on purpose. The file has two rounds, one after the other. signet has 3 values, and
// each of the others has 1.
func sample(t *testing.T) *results {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", "sample.txt"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	res, err := read(f)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func TestTables(t *testing.T) {
	text := render(sample(t), "2026-01-02", "some/where/results.svg")
	for _, want := range []string{
		"linux/amd64, Some CPU, GOMAXPROCS 2, 2026-01-02. Medians of 1 to 3 runs",
		"](results.svg)",
		"| HS256/cold | signet | 2,000 | 10 | cristalhq, 4,000 ns | 2.00 | 8.00 | 0.80 |",
		"| **signet** | signet | 2,000 | 20% | 900 | 10 | 0.50 | 8.00 | 0.80 |",
		"| cristalhq (best peer) | parse alone | 4,000 | 0% | 2536 | 40 | 1.00 | 16.0 | 1.60 |",
		"| echo-jwt | middleware | 6,000 | 0% | 4128 | 81 | 1.50 | 24.0 | 2.40 |",
		"| floor-hmac | floor | 250 | 0% | 0 | 0 | 0.062 | 1.00 | 0.10 |",
		"## Parallel/HS256/cold\n",
		"| echo-jwt (best peer) | 3,000 | 0% | 4128 | 81 | 1.00 | 2.00 |",
		"## Issue/EdDSA\n",
		"## LiveTokens\n",
		"| 1M | 250 | 0% | 0 | 0 | 2.50 |",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

func TestPicture(t *testing.T) {
	var b bytes.Buffer
	if err := draw(&b, sample(t)); err != nil {
		t.Fatal(err)
	}
	var words strings.Builder
	for d := xml.NewDecoder(&b); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("not XML: %v", err)
		}
		if text, ok := token.(xml.CharData); ok {
			words.Write(text)
			words.WriteByte('\n')
		}
	}
	for _, want := range []string{"HS256 cold", "signet", "echo-jwt", "4 µs", "floor-hmac-base64-json"} {
		if !strings.Contains(words.String(), want) {
			t.Errorf("no text %q in the picture: %s", want, words.String())
		}
	}
}

func TestRefused(t *testing.T) {
	const good = "BenchmarkRequireAuth/HS256/cold/echo-jwt 	 10 	 6000 ns/op\n"
	for name, input := range map[string]string{
		"nothing":         "",
		"no benchmark":    "PASS\n",
		"a failure":       good + "--- FAIL: BenchmarkRequireAuth/HS256/cold/jwx\n",
		"a failed build":  good + "FAIL\tgithub.com/signet-go/signet/bench [build failed]\n",
		"a broken number": "BenchmarkRequireAuth/HS256/cold/echo-jwt-2 	 10 	 6x00 ns/op\n",
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := read(strings.NewReader(input)); err == nil {
				t.Fatal("accepted")
			}
		})
	}
	res, err := read(strings.NewReader("BenchmarkIssue/HS256/jwx-2 	 10 	 6000 ns/op\n"))
	if err != nil {
		t.Fatal(err)
	}
	if err := draw(io.Discard, res); err == nil {
		t.Error("a picture of nothing")
	}
}

func TestProcs(t *testing.T) {
	for input, want := range map[string]string{
		"BenchmarkRequireAuth/HS256/cold/auth0-v2 	 10 	 6000 ns/op\n":    "1",
		"BenchmarkRequireAuth/HS256/cold/auth0-v2-16 	 10 	 6000 ns/op\n": "16",
	} {
		res, err := read(strings.NewReader(input))
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := res.find("RequireAuth/HS256/cold", "auth0-v2"); !ok || res.procs != want {
			t.Errorf("%q: groups %v, GOMAXPROCS %s, want %s", input, res.groups, res.procs, want)
		}
	}
}
