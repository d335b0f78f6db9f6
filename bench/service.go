package bench

import "slices"

// ServiceRun is what the bench of a whole service has measured: see TestService. The command report makes a page of
// it. Each list of numbers has one number per round.
type ServiceRun struct {
	Go, OS, Arch, CPU string
	Cores             int
	Rounds            int
	Seconds           float64 // of one measurement
	Connections       int
	Pinned            bool // in Guards: the service had one core for itself, and the generator another one
	Guards            []GuardRun
	Stores            []StoreRun
	Missing           []string // stores that are not installed here
	Login             LoginRun
}

// GuardRun is one service with one route that is guarded or bare.
type GuardRun struct {
	Alg      string
	Name     string // the library, or the router alone
	Router   string // the name of the bare service with the same router; Name itself if this is the bare one
	Tokens   int    // how many the clients choose from
	Rate     []float64
	CPU      []float64 // of the service's process, in nanoseconds per request; nothing if the system does not tell
	P50, P99 []float64 // in nanoseconds
}

// StoreRun is a service that refreshes sessions in one store, beside a bare service that does the same to a row.
type StoreRun struct {
	Name               string
	Sessions           int
	Refresh, Raw       []float64 // per second
	P50, P99           []float64 // of a refresh, in nanoseconds
	RawP50, RawP99     []float64
	RefreshCPU, RawCPU []float64 // of the service's process, in nanoseconds per refresh
	Rotated            float64   // share of the refreshes that made a new generation
	Lost               int       // sessions that were not as the client had left them
	Proved             []float64 // refreshes per second if a request with the new access token follows each
	Checked            []float64 // the same if a Verifier answers that request, so that it proves nothing
	Stored             []float64 // share of the proofs of delivery that were stored within two seconds after that request
	HOT                float64   // PostgreSQL: share of the updates that touched no index
}

// LoginRun is a service where people log in, with and without paced requests beside them.
type LoginRun struct {
	Clients, PerSecond    int
	Hashes                []float64 // per second, without a service
	Logins, LoginsBeside  []float64 // per second; LoginsBeside with paced requests
	Alone50, Alone99      []float64 // latency of the paced requests without logins, in nanoseconds from when each was due
	AloneMax              []float64
	Beside50, Beside99    []float64 // the same with logins
	BesideMax             []float64
	AloneRate, BesideRate []float64 // paced requests that were answered per second
}

// Median returns the median, or 0 if there are no values.
func Median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}

// Spread returns (max - min) / median, or 0 if that has no meaning.
func Spread(values []float64) float64 {
	median := Median(values)
	if median == 0 {
		return 0
	}
	return (slices.Max(values) - slices.Min(values)) / median
}
