package keys_test

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/keys"
)

// folder is a directory of key files.
type folder struct {
	testing.TB
	path string
}

func newFolder(t testing.TB) folder { return folder{t, t.TempDir()} }

// write replaces a file in one step, as a mounted secret changes.
func (f folder) write(name, text string) {
	f.Helper()
	hidden := filepath.Join(f.path, ".new")
	require.NoError(f, os.WriteFile(hidden, []byte(text), 0o600))
	require.NoError(f, os.Rename(hidden, filepath.Join(f.path, name)))
}

func (f folder) open(opts ...keys.FilesOption) *keys.Files {
	f.Helper()
	files, err := keys.OpenFiles(f.path, append([]keys.FilesOption{keys.WithInterval(time.Second), silent}, opts...)...)
	require.NoError(f, err)
	f.Cleanup(func() { require.NoError(f, files.Close()) })
	return files
}

// become waits until the keys have these ids.
func (f folder) become(files *keys.Files, ids ...string) {
	f.Helper()
	same := func() bool { return fmt.Sprint(files.Current().IDs()) == fmt.Sprint(ids) }
	require.Eventually(f, same, 20*time.Second, 10*time.Millisecond)
}

func jwkOf(t testing.TB, id string, value []byte) string {
	text, err := json.Marshal(map[string]string{"kty": "oct", "alg": "HS256", "kid": id, "k": encode(string(value))})
	require.NoError(t, err)
	return string(text)
}

var other = []byte("b6Xw0Yt4RmKc9Jq2Lf7Vg1Hs5Nd8PzAu")

func TestOpenFilesFollowsADirectory(t *testing.T) {
	var log syncBuffer
	f := newFolder(t)
	f.write("1.json", jwkOf(t, "old", secret))
	f.write(".hidden", "not a key")
	files := f.open(keys.WithLogger(log.logger()))
	set := files.Current()
	require.Equal(t, "old", set.Signing().ID())

	f.write("2.json", `{"keys":[`+jwkOf(t, "new", other)+`]}`)
	f.become(files, "old", "new")
	require.Equal(t, "old", files.Current().Signing().ID(), "published before it is used")
	require.NotSame(t, set, files.Current())

	set = files.Current()
	f.write("0.json", jwkOf(t, "new", secret))
	require.Eventually(t, func() bool { return log.String() != "" }, 20*time.Second, 10*time.Millisecond,
		"one id twice is reported")
	require.Contains(t, log.String(), "two keys have the id")
	require.Same(t, set, files.Current(), "and nothing has changed")

	f.write("0.json", jwkOf(t, "new", other)) // the same key in two files, as after a copy and before the other is removed
	f.become(files, "new", "old")
	require.NoError(t, os.Remove(filepath.Join(f.path, "2.json")))
	f.become(files, "new", "old")
	require.Equal(t, "new", files.Current().Signing().ID())
	require.NoError(t, os.Remove(filepath.Join(f.path, "1.json")))
	f.become(files, "new")
	require.NoError(t, files.Close())
	require.NoError(t, files.Close())
	require.NotContains(t, log.String(), encode(string(other)))
}

// Somebody puts the second key first, one file after the other. No set has only one of the keys: live tokens would be refused.
func TestOpenFilesTakesAChangeAsAWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := folder{t, t.TempDir()}
		one, two := jwkOf(t, "one", secret), jwkOf(t, "two", other)
		f.write("a", one)
		f.write("b", two)
		files := f.open(keys.WithInterval(10 * time.Second))
		defer files.Close()
		for step := range 150 { // for 15 seconds
			switch step {
			case 109: // 10.9 s
				f.write("a", two)
			case 112: // it was read in between, at 11 s
				f.write("b", one)
			}
			require.Len(t, files.Current().Keys(), 2, step)
			time.Sleep(100 * time.Millisecond)
		}
		set := files.Current()
		require.Equal(t, []string{"two", "one"}, set.IDs())
		time.Sleep(time.Minute)
		require.Same(t, set, files.Current(), "verified tokens stay verified")
	})
}

// The files may have been half written when the program started. They are read again soon.
func TestOpenFilesBesideTheirWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := folder{t, t.TempDir()}
		f.write("a", jwkOf(t, "old", secret))
		files := f.open(keys.WithInterval(time.Hour))
		defer files.Close()
		require.Equal(t, []string{"old"}, files.Current().IDs())
		f.write("a", jwkOf(t, "new", other))
		time.Sleep(2*time.Second + time.Millisecond)
		require.Equal(t, []string{"new"}, files.Current().IDs())
	})
}

// If the files are different at every read, the keys stay as they were, and the log says so once.
func TestOpenFilesThatChangeAllTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, log := folder{t, t.TempDir()}, &syncBuffer{}
		f.write("a", jwkOf(t, "one", secret))
		files := f.open(keys.WithLogger(log.logger()))
		defer files.Close()
		time.Sleep(700 * time.Millisecond)
		for i := range 60 {
			f.write("a", jwkOf(t, fmt.Sprint("other", i), other))
			time.Sleep(time.Second)
			require.Equal(t, []string{"one"}, files.Current().IDs())
		}
		require.Equal(t, 1, strings.Count(log.String(), "the files change all the time"))
		time.Sleep(3 * time.Second)
		require.Equal(t, []string{"other59"}, files.Current().IDs())
		require.Equal(t, 1, strings.Count(log.String(), "can be read again"))
	})
}

func TestOpenFilesReadsEveryKindOfFile(t *testing.T) {
	pkcs8, err := x509.MarshalPKCS8PrivateKey(rsaKey())
	require.NoError(t, err)
	f := newFolder(t)
	f.write("1-secret", "  "+string(secret)+"\r\n")
	f.write("2-quoted", `"`+string(other)+"\"\n")
	require.Equal(t, []string{keys.Secret(secret).ID(), keys.Secret(other).ID()}, f.open().Current().IDs())
	g := newFolder(t)
	g.write("3.pem", "\ufeff"+string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})))
	g.write("4.json", "\n"+jwkOf(t, "four", []byte("c7Yx1Zu5SnLd0Kr3Mg8Wh2It6Oe9QaBv")))
	require.Equal(t, []string{keys.Private(rsaKey()).ID(), "four"}, g.open().Current().IDs())
	single, err := keys.OpenFiles(filepath.Join(f.path, "1-secret"), silent)
	require.NoError(t, err)
	defer single.Close()
	require.Equal(t, []string{keys.Secret(secret).ID()}, single.Current().IDs())
}

// The private half of an announced key comes last and does not sign yet.
func TestAPrivateHalfHasItsOwnPlace(t *testing.T) {
	current, err := x509.MarshalPKCS8PrivateKey(p256(t))
	require.NoError(t, err)
	next, err := x509.MarshalPKCS8PrivateKey(rsaKey())
	require.NoError(t, err)
	public := fmt.Sprintf(`{"kty":"RSA","n":%q,"e":"AQAB"}`, encode(string(rsaKey().N.Bytes()))) // without "alg": it may be for several
	f := newFolder(t)
	f.write("05-next.json", public)
	f.write("10-current.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: current})))
	files := f.open()
	signing := files.Current().Signing().ID()
	f.write("20-next.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: next})))
	f.become(files, signing, keys.Private(rsaKey()).ID())
	require.Equal(t, signing, files.Current().Signing().ID())
	require.NoError(t, os.Remove(filepath.Join(f.path, "05-next.json")))
	require.NoError(t, os.Remove(filepath.Join(f.path, "10-current.pem")))
	f.become(files, keys.Private(rsaKey()).ID())
	require.True(t, files.Current().Signing().CanSign())
}

// A TLS secret holds the certificate of the authority too. Whoever has its key must not make tokens.
func TestOpenFilesOfATLSSecret(t *testing.T) {
	authority, own := p256(t), p256(t)
	root := &x509.Certificate{SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		NotAfter: time.Now().Add(time.Hour)}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), NotAfter: time.Now().Add(time.Hour)}
	certificate := func(c, issuer *x509.Certificate, public any, signer any) string {
		der, err := x509.CreateCertificate(rand.Reader, c, issuer, public, signer)
		require.NoError(t, err)
		return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	private, err := x509.MarshalPKCS8PrivateKey(own)
	require.NoError(t, err)
	key := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
	other := p256(t)
	old, next := certificate(root, root, authority.Public(), authority), certificate(root, root, other.Public(), other)
	silent := *root // it does not say what it signs
	silent.KeyUsage = 0
	for name, ca := range map[string]string{"it has issued the other one": old, "the next one too": old + next, "the next one first": next + old,
		"only the next one": next, "it does not say so": certificate(&silent, &silent, authority.Public(), authority)} {
		f := newFolder(t)
		f.write("ca.crt", ca)
		f.write("tls.crt", certificate(leaf, root, own.Public(), authority))
		f.write("tls.key", key)
		require.Equal(t, []string{keys.Private(own).ID()}, f.open().Current().IDs(), name)
	}

	g := newFolder(t) // as openssl req -x509 makes it: its own authority
	g.write("tls.crt", certificate(&silent, &silent, own.Public(), own))
	g.write("tls.key", key)
	g.write("older.crt", certificate(&silent, &silent, authority.Public(), authority))
	require.ElementsMatch(t, []string{keys.Public(authority.Public()).ID(), keys.Private(own).ID()}, g.open().Current().IDs())
}

func TestOpenFilesLeavesBackupsOut(t *testing.T) {
	f := newFolder(t)
	f.write("1", string(secret))
	for _, name := range []string{"1~", "1.bak", "1.BAK", "1.orig", "1.swp", "#1#", ".1",
		"1.old", "1.tmp", "1.dpkg-dist", "1.rpmsave"} {
		f.write(name, string(other))
	}
	require.NoError(t, os.Mkdir(filepath.Join(f.path, "folder"), 0o700))
	require.Equal(t, []string{keys.Secret(secret).ID()}, f.open().Current().IDs())
}

func TestOpenFilesRefusesWhatIsNoKeyFile(t *testing.T) {
	pkcs8, err := x509.MarshalPKCS8PrivateKey(rsaKey())
	require.NoError(t, err)
	second, err := x509.MarshalPKCS8PrivateKey(p256(t))
	require.NoError(t, err)
	blocks := func(ders ...[]byte) (text string) {
		for _, der := range ders {
			text += string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
		}
		return text
	}
	for name, tc := range map[string]struct {
		make func(f folder)
		want string
	}{
		"nothing":            {func(folder) {}, "no key can sign"},
		"only hidden":        {func(f folder) { f.write(".x", string(secret)) }, "no key can sign"},
		"a short secret":     {func(f folder) { f.write("x", "hello") }, "5 bytes"},
		"a variable":         {func(f folder) { f.write("x", "${SIGNET_SECRET_FROM_VAULT_FOR_PRODUCTION}") }, "nothing was put"},
		"a hint":             {func(f folder) { f.write("x", "<paste-your-secret-here-please-right-now>") }, "nothing was put"},
		"a placeholder":      {func(f folder) { f.write("x", "changeme") }, "placeholder"},
		"an empty file":      {func(f folder) { f.write("x", "") }, "empty"},
		"DER":                {func(f folder) { f.write("x", string(pkcs8)) }, "not text"},
		"two keys":           {func(f folder) { f.write("x", blocks(pkcs8, second)) }, "2 different keys"},
		"half a JSON object": {func(f folder) { f.write("x", `{"kty":`) }, "not a valid JSON object"},
		"a public key only": {func(f folder) {
			public, err := x509.MarshalPKIXPublicKey(rsaKey().Public())
			require.NoError(f, err)
			f.write("x", string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})))
		}, "no key can sign"},
		"a README":         {func(f folder) { f.write("0", "# The keys\n\nEach file here holds one key of the service.\n") }, "no white space"},
		"a public SSH key": {func(f folder) { f.write("0", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1mSd0 me@host") }, "no white space"},
		"a public key without its lines": {func(f folder) {
			public, err := x509.MarshalPKIXPublicKey(rsaKey().Public())
			require.NoError(f, err)
			f.write("0", base64.StdEncoding.EncodeToString(public))
		}, "the text of a key"},
		"a private key without its lines": {func(f folder) { f.write("0", base64.RawURLEncoding.EncodeToString(pkcs8)) }, "the text of a key"},
		"a checksum beside a key": {func(f folder) {
			f.write("key.pem", blocks(pkcs8))
			f.write("key.pem.sha256", "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")
		}, "beside other keys a secret must be a JWK"},
		"an id beside a JWK": {func(f folder) {
			f.write("0-instance", "2f1c9a52-7d54-4b0e-9d0c-3a1c7a0e7f11")
			f.write("1.json", jwkOf(t, "one", secret))
		}, "beside other keys a secret must be a JWK"},
		"too long": {func(f folder) { f.write("x", string(make([]byte, 300<<10))) }, "longer than"},
		"a link to a device": {func(f folder) { require.NoError(f, os.Symlink("/dev/zero", filepath.Join(f.path, "x"))) },
			"not a regular file"},
		"a dangling link": {func(f folder) { require.NoError(f, os.Symlink("nowhere", filepath.Join(f.path, "x"))) },
			"no such file"},
		"too many files": {func(f folder) {
			for i := range 200 {
				f.write(fmt.Sprint(i), string(secret))
			}
		}, "at most 128"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFolder(t)
			tc.make(f)
			_, err := keys.OpenFiles(f.path, silent)
			require.ErrorContains(t, err, tc.want)
			require.NotContains(t, err.Error(), "hello")
		})
	}
	_, err = keys.OpenFiles(filepath.Join(t.TempDir(), "missing"), silent)
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = keys.OpenFiles(t.TempDir(), keys.WithInterval(0))
	require.ErrorContains(t, err, "interval")
	_, err = keys.OpenFiles(t.TempDir(), keys.WithLogger(nil))
	require.ErrorContains(t, err, "logger")
	_, err = keys.OpenFiles(t.TempDir(), nil)
	require.ErrorContains(t, err, "option is nil")
	_, err = keys.OpenURL("https://keys.example/", nil)
	require.ErrorContains(t, err, "option is nil")
}

func TestAKeyFileThatEverybodyCanReadIsLogged(t *testing.T) {
	var log syncBuffer
	f := newFolder(t)
	f.write("1", string(secret))
	f.open(keys.WithLogger(log.logger()))
	require.Empty(t, log.String())
	require.NoError(t, os.Chmod(filepath.Join(f.path, "1"), 0o644))
	f.open(keys.WithLogger(log.logger()))
	require.Contains(t, log.String(), "level=WARN")
	require.NotContains(t, log.String(), string(secret))
}

// A private key beside its own public key or certificate, as in a TLS secret of Kubernetes, is one key.
func TestAKeyBesideItsPublicKey(t *testing.T) {
	private, err := x509.MarshalPKCS8PrivateKey(rsaKey())
	require.NoError(t, err)
	public, err := x509.MarshalPKIXPublicKey(rsaKey().Public())
	require.NoError(t, err)
	for _, names := range [][2]string{{"1.key", "2.pub"}, {"2.key", "1.pub"}} {
		f := newFolder(t)
		f.write(names[0], string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
		f.write(names[1], string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})))
		set := f.open().Current()
		require.Len(t, set.Keys(), 1)
		require.True(t, set.Signing().CanSign())
	}
}

// Files that cannot be read for a while are two lines in the log, one at each end.
func TestAFileThatCannotBeReadIsLoggedOnce(t *testing.T) {
	f := newFolder(t)
	f.write("a.jwk", jwkOf(t, "a", other))
	var log syncBuffer
	count := func(part string) int { return strings.Count(log.String(), part) }
	files := f.open(keys.WithLogger(log.logger()))
	f.write("b.jwk", "{")
	require.Eventually(t, func() bool { return count("cannot be read") == 1 }, 20*time.Second, 10*time.Millisecond)
	time.Sleep(3 * time.Second)
	require.Equal(t, 1, count("cannot be read"))
	require.NoError(t, os.Remove(filepath.Join(f.path, "b.jwk")))
	require.Eventually(t, func() bool { return count("can be read again") == 1 }, 20*time.Second, 10*time.Millisecond)
	require.Equal(t, []string{"a"}, files.Current().IDs())
}

// Random secrets with any signs are good ones, also those that begin or end as a variable does.
func TestRandomSecretsAreNoVariables(t *testing.T) {
	for _, secret := range []string{"<xu5$=9vqk3ll0N+F>?0DZ_BzV-xmXbigVNv>fu>*ND=v=}>", "${kQ8!vB2#mZ7&pL4*xT9@rW6%cY3^}aE", "{{q7Vd!2xK)9sJ;5mB(8nR=4wH&6tP$3}"} {
		set, err := keys.ParseSet([]byte(`{"keys":[{"kty":"oct","kid":"a","alg":"HS256","k":"` + base64.RawURLEncoding.EncodeToString([]byte(secret)) + `"}]}`))
		require.NoError(t, err, secret)
		require.Len(t, set, 1)
	}
}
