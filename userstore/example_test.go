package userstore_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/signet-go/signet/userstore"
)

func ExampleMemory() {
	ctx := context.Background()
	users := userstore.NewMemory()
	err := users.Add(ctx, userstore.User{
		ID:           "42",
		Email:        "Ann@Example.com",
		PasswordHash: "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
		Roles:        []string{"admin"},
	})
	fmt.Println(err)

	ann, err := users.FindByEmail(ctx, " ann@example.com")
	fmt.Println(ann, err)
	err = users.Add(ctx, userstore.User{ID: "43", Email: "ANN@example.com"})
	fmt.Println(errors.Is(err, userstore.ErrExists))
	_, err = users.FindByID(ctx, "43")
	fmt.Println(err)
	// Output:
	// <nil>
	// User{ID:"42" Email:"Ann@Example.com" Roles:["admin"] Disabled:false} <nil>
	// true
	// userstore: no such user
}

func ExampleNormalizeEmail() {
	fmt.Println(userstore.NormalizeEmail("  Ann.Lee+News@Example.COM "))
	// Output: ann.lee+news@example.com
}
