// Command report reads the output of go test -bench, or what TestService has measured. It writes the tables and the
// picture.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"
)

func main() {
	in := flag.String("in", "", "output of go test -bench; standard input if empty")
	md := flag.String("md", "RESULTS.md", "where the tables go")
	svg := flag.String("svg", "results.svg", "where the picture goes; the tables link to it by its base name")
	service := flag.String("service", "", "what TestService has measured; it takes the place of the output of go test")
	date := flag.String("date", time.Now().UTC().Format(time.DateOnly), "the date of the run")
	flag.Parse()
	work := func() error { return run(*in, *md, *svg, *date) }
	if *service != "" {
		work = func() error { return runService(*service, *md, *svg) }
	}
	if err := work(); err != nil {
		fmt.Fprintln(os.Stderr, "report:", err)
		os.Exit(1)
	}
}

func run(in, md, svg, date string) (err error) {
	source := io.Reader(os.Stdin)
	if in != "" {
		f, err := os.Open(in)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		source = f
	}
	res, err := read(source)
	if err != nil {
		return err
	}
	var picture bytes.Buffer
	if err := draw(&picture, res); err != nil {
		return err
	}
	return publish(render(res, date, svg), picture.Bytes(), md, svg)
}

// publish writes the page and the picture, and prints the page.
func publish(text string, picture []byte, md, svg string) error {
	if _, err := os.Stdout.WriteString(text); err != nil {
		return err
	}
	if err := os.WriteFile(md, []byte(text), 0o644); err != nil {
		return err
	}
	return os.WriteFile(svg, picture, 0o644)
}
