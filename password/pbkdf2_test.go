package password_test

import (
	"crypto/fips140"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/password"
)

// fast has the least number of iterations that Hash allows.
var fast = password.PBKDF2{Iterations: 1000}

// RFC 7914, section 11 has vectors of PBKDF2-HMAC-SHA-256 with keys of 64 bytes. The others: Python's hashlib.
func TestPBKDF2Vectors(t *testing.T) {
	for _, tc := range []struct{ password, hash string }{
		{"pässword", "$pbkdf2-sha256$i=1000$AAECAwQFBgcICQoLDA0ODw$T0Z5wUqa/rr8kWb7KeLsnYrEP6Go8Ns+sglAvd4sSjw"},
		{"pässword", "$pbkdf2-sha256$i=1000,l=32$AAECAwQFBgcICQoLDA0ODw$T0Z5wUqa/rr8kWb7KeLsnYrEP6Go8Ns+sglAvd4sSjw"},
	} {
		requireVerify(t, fast, tc.hash, tc.password, true, false)
		requireVerify(t, fast, tc.hash, tc.password+"x", false, false)
		requireVerify(t, password.PBKDF2{}, tc.hash, tc.password, true, true)
		requireVerify(t, password.Default(), tc.hash, tc.password, true, true)
	}
	const rfc = "$pbkdf2-sha256$i=1$c2FsdA$VawEblbjCJ/sFpHCJUS2BflBhSFt3gRl5oudV8INrLxJypzM8Xm2RZkWZLOdd+8xfHG4RbHjC9UJESBB06GXgw"
	const shortSalt = "$pbkdf2-sha256$i=1000$ZmlmdGVlbiBieXRlcyAh$Gr9ijlXB8T3gwZU8Ut2ykY05HoEniaBChuea8TdjpQI"
	if !fips140.Enforced() { // the salts are short
		requireVerify(t, fast, rfc, "passwd", true, true)
		requireVerify(t, fast, shortSalt, "secret", true, true)
	}
}

func TestPBKDF2Hash(t *testing.T) {
	seen := map[string]bool{}
	for range 10 {
		hash, err := fast.Hash("secret")
		require.NoError(t, err)
		require.Regexp(t, regexp.MustCompile(`^\$pbkdf2-sha256\$i=1000\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$`), hash)
		requireVerify(t, fast, hash, "secret", true, false)
		requireVerify(t, fast, hash, "Secret", false, false)
		salt := strings.Split(hash, "$")[3]
		require.False(t, seen[salt], "salt %s came twice", salt)
		seen[salt] = true
	}
	hash, err := password.PBKDF2{}.Hash("secret")
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(hash, "$pbkdf2-sha256$i=600000$"), "hash %s", hash)
	requireVerify(t, password.PBKDF2{}, hash, "secret", true, false)

	for _, iterations := range []int{-1, 1, 999, 10_000_001} {
		_, err := password.PBKDF2{Iterations: iterations}.Hash("secret")
		require.ErrorContains(t, err, "PBKDF2 iterations", "%d iterations", iterations)
		require.NotContains(t, err.Error(), "secret")
	}
	long := strings.Repeat("a", password.MaxLength+1)
	_, err = fast.Hash(long)
	require.ErrorIs(t, err, password.ErrTooLong)
	requireFault(t, fast, hash, long, password.ErrTooLong)
}

func TestPBKDF2Outdated(t *testing.T) {
	const key = "T0Z5wUqa/rr8kWb7KeLsnYrEP6Go8Ns+sglAvd4sSjw"
	const hash = "$pbkdf2-sha256$i=1000$AAECAwQFBgcICQoLDA0ODw$" + key
	requireVerify(t, fast, hash, "pässword", true, false)
	requireVerify(t, password.PBKDF2{Iterations: 1001}, hash, "pässword", true, true)
	requireVerify(t, password.PBKDF2{Iterations: 1001}, hash, "password", false, false)
	// A shorter key is the beginning of a longer one.
	requireVerify(t, fast, strings.Replace(hash, key, key[:40], 1), "pässword", true, true)
}

func TestPBKDF2Format(t *testing.T) {
	const good = "$pbkdf2-sha256$i=1000$AAECAwQFBgcICQoLDA0ODw$T0Z5wUqa/rr8kWb7KeLsnYrEP6Go8Ns+sglAvd4sSjw"
	replace := func(old, new string) string { return strings.Replace(good, old, new, 1) }
	for _, tc := range []struct{ name, hash string }{
		{"empty", ""},
		{"plain text", "pässword"},
		{"passlib", "$pbkdf2-sha256$1000$6n2PkdJaC6F0LmWsdY6R8g$sQIa8RZh9cxNhaCADNlt/bp.kyvkncRXTaGZGSIY4xE"},
		{"passlib's number", replace("i=", "")},
		{"sha1", replace("sha256", "sha1")},
		{"sha512", replace("sha256", "sha512")},
		{"i=0", replace("1000", "0")},
		{"i=01000", replace("1000", "01000")},
		{"i=-1000", replace("1000", "-1000")},
		{"i over the bound", replace("1000", "10000001")},
		{"i=2^31", replace("1000", "2147483648")},
		{"i=2^32+1000", replace("1000", "4294968296")},
		{"i=2^64+1000", replace("1000", "18446744073709552616")},
		{"i twice", replace("i=1000", "i=1000,i=1000")},
		{"l alone", replace("i=1000", "l=32")},
		{"l=31", replace("i=1000", "i=1000,l=31")},
		{"another parameter", replace("i=1000", "i=1000,k=1")},
		{"comma at the end", replace("i=1000", "i=1000,")},
		{"salt empty", replace("AAECAwQFBgcICQoLDA0ODw", "")},
		{"salt padded", replace("Dw$", "Dw==$")},
		{"salt with unused bits", replace("ODw$", "ODx$")},
		{"salt with a newline", replace("AAEC", "AA\nEC")},
		{"key of 15 bytes", good[:strings.LastIndex(good, "$")+1+20]},
		{"key with a dot", replace("+", ".")},
		{"key padded", good + "="},
		{"text before", "x" + good},
		{"another field", good + "$"},
		{"long", replace("AAECAwQFBgcICQoLDA0ODw", strings.Repeat("AAAA", 128))},
	} {
		t.Run(tc.name, func(t *testing.T) { requireFault(t, fast, tc.hash, "pässword", password.ErrFormat) })
	}
}

// inFIPS marks the child process of TestFIPS140.
const inFIPS = "SIGNET_TEST_FIPS140"

// TestFIPS140 runs itself and the tests of PBKDF2 again in a process that enforces FIPS 140.
func TestFIPS140(t *testing.T) {
	if os.Getenv(inFIPS) != "" {
		testImportedUnderFIPS140(t)
		return
	}
	child := exec.Command(os.Args[0], "-test.run=^TestFIPS140$|PBKDF2|^TestPolicy$", "-test.v", "-test.count=1")
	child.Env = append(os.Environ(), "GODEBUG=fips140=only", inFIPS+"=1")
	out, err := child.CombinedOutput()
	require.NoError(t, err, "%s", out)
	for _, name := range []string{"TestFIPS140", "TestPBKDF2Vectors", "TestPBKDF2Hash", "TestPBKDF2Format", "ExamplePBKDF2", "TestPolicy"} {
		require.Contains(t, string(out), "--- PASS: "+name+" ")
	}
}

// testImportedUnderFIPS140: a hash that FIPS 140 forbids is one that cannot be read, and never a panic.
func testImportedUnderFIPS140(t *testing.T) {
	require.True(t, fips140.Enforced())
	for _, tc := range importedVectors {
		ok, outdated, err := password.Imported{}.Verify(tc.hash, tc.password)
		require.Equal(t, ok, outdated, tc.name)
		require.Equal(t, ok, err == nil, "%s: %v", tc.name, err)
		if err != nil { // the user needs a new password
			require.ErrorIs(t, err, password.ErrFormat, tc.name)
		}
		if strings.Contains(tc.name, "scrypt") || strings.Contains(tc.name, "sha1") || strings.Contains(tc.name, "SHA-1") {
			require.Error(t, err, tc.name)
		}
		if strings.HasPrefix(tc.name, "PHC pbkdf2-sha256") || strings.Contains(tc.name, "bcrypt") {
			require.NoError(t, err, tc.name)
		}
	}
}
