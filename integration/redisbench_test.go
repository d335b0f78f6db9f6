//go:build unix

package integration

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/integration/servers"
	"github.com/signet-go/signet/session"
)

// BenchmarkRedisService compares refreshes over HTTP with a bare service that reads a row of 400 bytes and writes it
// conditionally. Both have 32 clients. The rows of the bare service are as large, and so are its requests and answers.
func BenchmarkRedisService(b *testing.B) {
	for _, fsync := range []string{"always", "everysec"} {
		b.Run(fsync, func(b *testing.B) {
			client := openRedis(b, "redis://"+servers.Redis(b, "--appendfsync", fsync).Addr())
			auth := newAuth(b, onlyJohn(b), redisSessions(b, client, "signet"), noBackground()...)
			const clients = 32
			var bodies, bare [clients][]byte
			for i := range clients {
				tokens, err := auth.IssueFor(b.Context(), john)
				require.NoError(b, err)
				bodies[i] = []byte(`{"refresh_token":"` + tokens.RefreshToken + `"}`)
				bare[i] = []byte(`{"refresh_token":"` + strings.Repeat("x", len(tokens.RefreshToken)-1) + string(rune('A'+i)) + `"}`)
			}
			b.Run("batch", func(b *testing.B) { measureBatch(b, client) })
			b.Run("refresh", func(b *testing.B) { measureService(b, client, auth.RefreshHandler(), bodies[:]) })
			b.Run("bare", func(b *testing.B) { measureService(b, client, bareService(client), bare[:]) })
		})
	}
}

var bareSwap = redis.NewScriptServerSHA(`if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
return 1`)

func bareService(client *redis.Client) http.Handler {
	var count atomic.Int64
	padding := strings.Repeat("x", 380)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		key := "bare:" + string(body[len(body)-3:])
		old, err := client.Get(r.Context(), key).Result()
		if err != nil && err != redis.Nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		row := padding + string(rune('a'+count.Add(1)%26)) + old[:min(19, len(old))]
		done, err := bareSwap.Run(r.Context(), client, []string{key}, old, row).Int()
		if err != nil || done != 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusCreated)
		_, _ = w.Write([]byte(`{"access_token":"` + padding[:300] + `",` + string(body[1:])))
	})
}

// measureService sends b.N requests. The refresh token of an answer is that of the next request.
// The CPU times tell more than the rate where the machine has other work: that of this process, which has the clients too,
// and that of the Redis server.
func measureService(b *testing.B, redisClient *redis.Client, handler http.Handler, bodies [][]byte) {
	server := httptest.NewServer(handler)
	defer server.Close()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: len(bodies)}}
	defer client.CloseIdleConnections()
	var left atomic.Int64
	left.Store(int64(b.N))
	done := make(chan error)
	b.ReportAllocs()
	ours, theirs := processTime(b), redisTime(b, redisClient)
	b.ResetTimer()
	for i := range bodies {
		go func() {
			var err error
			for err == nil && left.Add(-1) >= 0 {
				bodies[i], err = nextBody(client, server.URL, bodies[i])
			}
			done <- err
		}()
	}
	for range bodies {
		if err := <-done; err != nil {
			b.Error(err)
		}
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
	b.ReportMetric((processTime(b)-ours)*1e6/float64(b.N), "process-us/op")
	b.ReportMetric((redisTime(b, redisClient)-theirs)*1e6/float64(b.N), "redis-us/op")
}

func nextBody(client *http.Client, url string, body []byte) ([]byte, error) {
	request, err := http.NewRequestWithContext(context.Background(), http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	const name = `refresh_token":"`
	_, token, found := bytes.Cut(answer, []byte(name))
	end := bytes.IndexByte(token, '"')
	if response.StatusCode != http.StatusCreated || !found || end < 0 {
		return nil, fmt.Errorf("%s: %s", response.Status, answer)
	}
	return []byte(`{"` + name + string(token[:end]) + `"}`), nil
}

// measureBatch changes 256 sessions at once. It counts each as an operation.
func measureBatch(b *testing.B, client *redis.Client) {
	const n = 256
	store := redisSessions(b, client, "batch")
	var ids []string
	for i := range n {
		ids = append(ids, newSession(b, store, strconv.Itoa(i)).ID)
	}
	ours, theirs := processTime(b), redisTime(b, client)
	b.ReportAllocs()
	b.ResetTimer()
	for done := 0; done < b.N; done += n {
		change := func(row session.Session, now session.Millis) session.Session {
			row.Next++
			row.ConfirmedAt = now
			return row
		}
		require.NoError(b, store.UpdateBatch(b.Context(), ids[:min(n, b.N-done)], change))
	}
	b.StopTimer()
	b.ReportMetric((processTime(b)-ours)*1e6/float64(b.N), "process-us/op")
	b.ReportMetric((redisTime(b, client)-theirs)*1e6/float64(b.N), "redis-us/op")
}

// processTime returns the CPU time of this process in seconds.
func processTime(b *testing.B) float64 {
	var usage syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()).Seconds()
}

// redisTime returns the CPU time of a server in seconds.
func redisTime(b *testing.B, client *redis.Client) (seconds float64) {
	info, err := client.Info(context.Background(), "cpu").Result()
	require.NoError(b, err)
	for line := range strings.SplitSeq(info, "\r\n") {
		name, value, _ := strings.Cut(line, ":")
		if name == "used_cpu_sys" || name == "used_cpu_user" {
			part, err := strconv.ParseFloat(value, 64)
			require.NoError(b, err)
			seconds += part
		}
	}
	return seconds
}
