package redisstore_test

import (
	"log"

	"github.com/redis/go-redis/v9"

	"github.com/signet-go/signet/redisstore"
	"github.com/signet-go/signet/throttle"
)

// Several processes share the sessions of their users. Give the store to signet.WithSessionStore.
func ExampleNew() {
	client := redis.NewClient(&redis.Options{Addr: "localhost:6379", ContextTimeoutEnabled: true})
	defer client.Close()
	store, err := redisstore.New(client, redisstore.WithPrefix("shop"))
	if err != nil {
		log.Fatal(err)
	}
	_ = store
}

// Several processes count the attempts to log in together. Give the limiter to signet.LoginPolicy.
func ExampleNewThrottle() {
	client := redis.NewClient(&redis.Options{Addr: "localhost:6379", ContextTimeoutEnabled: true})
	defer client.Close()
	store, err := redisstore.NewThrottle(client, redisstore.WithPrefix("shop"))
	if err != nil {
		log.Fatal(err)
	}
	limiter := throttle.New(store, throttle.Config{})
	_ = limiter
}
