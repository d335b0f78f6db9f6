package password_test

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/signet-go/signet/password"
)

func ExampleArgon2id() {
	hasher := password.Argon2id{Memory: 64 * 1024, Iterations: 1, Parallelism: 1}
	hash, err := hasher.Hash("correct horse battery staple")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(strings.Join(strings.Split(hash, "$")[:4], "$"))

	ok, outdated, err := hasher.Verify(hash, "correct horse battery staple")
	fmt.Println(ok, outdated, err)
	ok, outdated, err = hasher.Verify(hash, "Tr0ub4dor&3")
	fmt.Println(ok, outdated, err)
	// Output:
	// $argon2id$v=19$m=65536,t=1,p=1
	// true false <nil>
	// false false <nil>
}

// The users of an older program have bcrypt hashes and can log in. outdated says that the program should store a new hash.
func ExampleDefault() {
	hasher := password.Default()
	stored := "$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"

	ok, outdated, err := hasher.Verify(stored, "U*U")
	fmt.Println(ok, outdated, err)
	if ok && outdated {
		stored, err = hasher.Hash("U*U")
		fmt.Println(stored[:31], err)
	}
	ok, outdated, err = hasher.Verify(stored, "U*U")
	fmt.Println(ok, outdated, err)
	// Output:
	// true true <nil>
	// $argon2id$v=19$m=19456,t=2,p=1$ <nil>
	// true false <nil>
}

// This program must still write bcrypt hashes, because another program reads its table. It accepts Argon2id hashes too.
func ExampleChain() {
	hasher := password.Chain(password.Bcrypt{Cost: 5}, password.Argon2id{})
	for _, stored := range []string{
		"$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
		"$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
		"$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjlO",
	} {
		ok, outdated, err := hasher.Verify(stored, "password")
		fmt.Println(ok, outdated, err)
	}
	// Output:
	// false false <nil>
	// true true <nil>
	// false false password: hash is in no known format
}

func ExampleHash() {
	hash, err := password.Hash("correct horse battery staple")
	if err != nil {
		fmt.Println(err)
		return
	}
	ok, _, err := password.Default().Verify(hash, "correct horse battery staple")
	fmt.Println(ok, err)
	// Output: true <nil>
}

// The users of a Django program come with their hashes. Imported verifies them, and Argon2id makes the new ones.
func ExampleImported() {
	hasher := password.Chain(password.Argon2id{}, password.Imported{})
	stored := "pbkdf2_sha256$260000$seasalt$YlZ2Vggtqdc61YjArZuoApoBh9JNGYoDRBUGu6tcJQo="
	ok, outdated, err := hasher.Verify(stored, "lètmein")
	fmt.Println(ok, outdated, err)
	ok, outdated, err = hasher.Verify("{noop}letmein", "letmein")
	fmt.Println(ok, outdated, err)
	// Output:
	// true true <nil>
	// false false password: hash is in no known format
}

// A program that needs FIPS 140 makes PBKDF2 hashes, and still accepts the Argon2id hashes that it made before.
func ExamplePBKDF2() {
	hasher := password.Chain(password.PBKDF2{}, password.Argon2id{})
	hash, err := hasher.Hash("correct horse battery staple")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(strings.Join(strings.Split(hash, "$")[:3], "$"))
	ok, outdated, err := hasher.Verify(hash, "correct horse battery staple")
	fmt.Println(ok, outdated, err)
	// Output:
	// $pbkdf2-sha256$i=600000
	// true false <nil>
}

func ExamplePolicy() {
	breached := map[string]bool{"password1": true} // a real list is a service or a Bloom filter
	policy := password.Policy{
		MinLength: 8,
		Blocked: func(ctx context.Context, password string) (bool, error) {
			return breached[password], nil
		},
	}
	for _, candidate := range []string{"1234567", "password1", "correct horse battery staple"} {
		err := policy.Check(context.Background(), candidate)
		fmt.Println(err, errors.Is(err, password.ErrBlocked))
	}
	// Output:
	// password: too short: less than 8 bytes false
	// password: known to attackers true
	// <nil> false
}

// The same word, typed on two devices, is one password.
func ExampleNormalize() {
	fmt.Println(password.Normalize("Ko\u0308nig") == password.Normalize("K\u00f6nig"))
	// Output: true
}
