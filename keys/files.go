package keys

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"

	"github.com/signet-go/signet/internal/strictjson"
)

// Files is a [Source] that reads its keys from a file or a directory, again and again. It is safe for concurrent use.
// Make it with [OpenFiles].
type Files struct {
	state  atomic.Pointer[Set]
	cfg    filesConfig
	path   string
	sum    [sha256.Size]byte // of the files whose keys are in state
	last   [sha256.Size]byte // of the files as they were read last
	unlike int               // how many reads in a row were different from the one before
	stop   context.CancelFunc
	follow sync.WaitGroup
}

// FilesOption is an option of [OpenFiles].
type FilesOption interface{ applyFiles(*filesConfig) }

type filesConfig struct {
	interval time.Duration
	logger   *slog.Logger
}

type filesOption func(*filesConfig)

func (o filesOption) applyFiles(c *filesConfig) { o(c) }

// WithInterval sets how often [OpenFiles] reads the files again: at least one second. The default is 10 seconds. A change
// counts at the next read, a second later.
func WithInterval(interval time.Duration) FilesOption {
	return filesOption(func(c *filesConfig) { c.interval = interval })
}

// LoggerOption is an option of [OpenFiles] and [OpenURL].
type LoggerOption interface {
	FilesOption
	RemoteOption
}

type loggerOption struct{ logger *slog.Logger }

func (o loggerOption) applyFiles(c *filesConfig)   { c.logger = o.logger }
func (o loggerOption) applyRemote(c *remoteConfig) { c.logger = o.logger }

// WithLogger sets where failures to read or fetch keys are logged. The keys themselves are never logged. The default is
// [slog.Default].
func WithLogger(logger *slog.Logger) LoggerOption { return loggerOption{logger} }

// The limits of what OpenFiles reads.
const (
	maxKeyFile  = 256 << 10 // bytes
	maxKeyFiles = 128
)

// OpenFiles reads keys from a file or a directory, for services whose secrets are mounted as files. It starts a
// goroutine that reads them again every few seconds, until [Files.Close]. The host must close the services that use the
// keys first.
//
// A file holds a JWK Set (of secrets or of other keys, not of both), one JWK, one key in PEM, or the text of an HMAC secret,
// which has no white space. In a directory every file holds one of these, and OpenFiles reads the files in the order of their
// names. Beside other keys a secret must be a JWK, {"kty": "oct", "k": "..."}, because a text there may be something else,
// such as the name of a version. To keep a secret that was a text, k is the base64url form of this text:
//
//	printf %s "$SECRET" | basenc --base64url -w0 | tr -d =
//
// OpenFiles leaves out hidden files and the backup files of editors. If two files hold the same key, OpenFiles uses the one
// that can sign. It also leaves out the certificate of an authority, such as ca.crt of a TLS secret: a certificate that may
// sign certificates, or that has issued another certificate in the directory. The first key that can sign is the signing key.
// The other keys are only accepted. OpenFiles returns an error if a file cannot be read, if it holds something else, or if no
// key can sign.
//
// To change keys, add the next key behind the current one on all servers. Then put it first on all servers. Then remove
// the old one. See [Ring] for how long to wait between these steps.
//
// A change counts when two reads, a second apart, have found the same. So a change of several files is taken as a whole if
// each of its steps follows within a second. The first two reads, at the start, follow at once; the third comes a second
// later. If a later read fails, or if a file then holds something else, the keys stay as they were and the error is logged. A
// warning is logged for each key file that every user of the machine can read. If several files are texts of secrets, the name
// of the one that signs is logged.
func OpenFiles(path string, opts ...FilesOption) (*Files, error) {
	cfg := filesConfig{interval: 10 * time.Second, logger: slog.Default()}
	for _, opt := range opts {
		if opt == nil {
			return nil, errors.New("keys.OpenFiles: an option is nil")
		}
		opt.applyFiles(&cfg)
	}
	if cfg.interval < time.Second {
		return nil, fmt.Errorf("keys.OpenFiles: the interval %v is under 1s", cfg.interval)
	}
	if cfg.logger == nil {
		return nil, errors.New("keys.OpenFiles: the logger is nil; leave the option out for slog.Default()")
	}
	f := &Files{cfg: cfg, path: path}
	settled, err := f.read()
	for err == nil && !settled {
		settled, err = f.read()
	}
	if err != nil {
		return nil, fmt.Errorf("keys.OpenFiles: %w", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	f.stop = stop
	f.follow.Go(func() { f.run(ctx) })
	return f, nil
}

// Close ends the goroutine of OpenFiles and waits for it. The keys stay as they are. A second Close does nothing. Close always
// returns nil.
func (f *Files) Close() error {
	if f.stop != nil {
		f.stop()
	}
	f.follow.Wait()
	return nil
}

// Current implements [Source].
func (f *Files) Current() *Set {
	if f == nil {
		return nil
	}
	return f.state.Load()
}

// Err returns an error if the Files was not made by [OpenFiles].
func (f *Files) Err() error {
	if f == nil || f.stop == nil {
		return errors.New("keys: the Files is empty; make it with keys.OpenFiles")
	}
	return nil
}

// Refetch implements [Source]. It does not read the files, because the goroutine of OpenFiles does that.
func (f *Files) Refetch(context.Context, *Set) (*Set, error) { return f.Current(), nil }

// Format implements [fmt.Formatter]: Files prints as its keys' ids.
func (f *Files) Format(state fmt.State, _ rune) {
	fmt.Fprintf(state, "keys.Files%q", f.Current().IDs())
}

func (f *Files) run(ctx context.Context) {
	timer := time.NewTimer(settleTime) // the files may have been written when the first reads were made
	defer timer.Stop()
	logged := "" // the error that was logged last, and not again while it lasts
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		settled, err := f.read()
		pause := f.cfg.interval
		if !settled {
			pause = settleTime
		}
		timer.Reset(pause)
		switch {
		case err == nil && logged != "" && settled:
			f.cfg.logger.Info("keys: the key files can be read again", "path", f.path)
			logged = ""
		case err != nil && err.Error() != logged:
			f.cfg.logger.Error("keys: the key files cannot be read; the keys stay as they were",
				"path", f.path, "error", err)
			logged = err.Error()
		}
	}
}

// settleTime is the time between the two reads that must agree. Who changes several files may need longer than a moment.
const settleTime = time.Second

// read replaces the set if the files have changed. If they have not changed, the set keeps its pointer, so that
// verified tokens stay verified. settled is false if the files were different at the last read: somebody may have changed only a
// part of them yet, so the next read decides.
func (f *Files) read() (settled bool, err error) {
	files, err := readKeyFiles(f.path)
	if err != nil {
		return true, err
	}
	sum, last := sumOf(files), f.last
	f.last = sum
	if sum != f.sum && sum != last {
		if f.unlike++; f.unlike > 10 {
			err = errors.New("the files change all the time")
		}
		return false, err
	}
	f.unlike = 0
	if sum == f.sum {
		return true, nil
	}
	set, err := f.parse(files)
	if err != nil {
		return true, err
	}
	f.sum = sum
	f.state.Store(set)
	return true, nil
}

// parse returns the keys of the files, and logs what the operator should look at.
func (f *Files) parse(files []keyFile) (*Set, error) {
	var list []*Key
	var texts []string // the files with the text of a secret
	var certificates []*x509.Certificate
	nameOf := map[*Key]string{}
	for _, file := range files {
		parsed, isSecret, err := parseKeyFile(file.text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file.name, err)
		}
		if isSecret {
			texts = append(texts, file.name)
		}
		certificates = append(certificates, certificatesIn(file.text)...)
		for _, k := range parsed {
			nameOf[k] = file.name
			switch i := slices.IndexFunc(list, k.Equal); {
			case i < 0:
				list = append(list, k)
			case k.CanSign() && !list[i].CanSign(): // it stands where its own file stands in the order
				list = append(slices.Delete(list, i, i+1), k)
			}
		}
	}
	if len(texts) > 0 && len(texts) < len(files) { // a text beside keys may be a fingerprint, or the name of a version
		return nil, fmt.Errorf("%s: beside other keys a secret must be a JWK, {\"kty\": \"oct\", \"k\": \"...\"}, where k is the base64url form of the text", texts[len(texts)-1])
	}
	list, authorities := withoutAuthorities(list, certificates)
	set, err := firstSigns(list)
	if err != nil {
		return nil, err
	}
	for _, k := range authorities {
		f.cfg.logger.Warn("keys: the certificate of an authority is no key for tokens", "path", f.path, "key", k.ID())
	}
	for _, file := range files {
		if file.mode.Perm()&0o004 != 0 {
			f.cfg.logger.Warn("keys: every user of this machine can read a key file", "path", file.name)
		}
	}
	if len(texts) > 1 { // one of them may be no secret, such as the name of a version
		f.cfg.logger.Info("keys: the texts of several secrets were read", "signs", nameOf[set.Signing()], "key", set.Signing(), "accepted", set.IDs())
	}
	return set, nil
}

func certificatesIn(text []byte) (list []*x509.Certificate) {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if c, err := x509.ParseCertificate(block.Bytes); block.Type == "CERTIFICATE" && err == nil {
			list = append(list, c)
		}
	}
	return list
}

// withoutAuthorities leaves out the keys of authorities, such as ca.crt of a TLS secret: those whose certificate says that they
// sign certificates, or that have issued one of the other certificates. They can only verify, and their owners must not make
// tokens.
func withoutAuthorities(list []*Key, certificates []*x509.Certificate) (rest, left []*Key) {
	for _, k := range list {
		isAuthority := !k.CanSign() && slices.ContainsFunc(certificates, func(c *x509.Certificate) bool {
			return hasPublic(k, c) && (c.IsCA && c.KeyUsage&x509.KeyUsageCertSign != 0 ||
				slices.ContainsFunc(certificates, func(issued *x509.Certificate) bool {
					return !hasPublic(k, issued) && issued.CheckSignatureFrom(c) == nil
				}))
		})
		if isAuthority {
			left = append(left, k)
		} else {
			rest = append(rest, k)
		}
	}
	return rest, left
}

func hasPublic(k *Key, c *x509.Certificate) bool {
	public, ok := c.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	return ok && public.Equal(k.public)
}

func firstSigns(list []*Key) (*Set, error) {
	i := slices.IndexFunc(list, (*Key).CanSign)
	if i < 0 {
		return nil, errors.New("no key can sign; add a private key or a secret")
	}
	return NewSet(list[i], slices.Concat(list[:i], list[i+1:])...)
}

// keyFileNames returns the path itself, or the files of the directory that it names, sorted.
func keyFileNames(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, entry := range entries {
		if !entry.IsDir() && !isLeftOver(entry.Name()) {
			names = append(names, filepath.Join(path, entry.Name()))
		}
	}
	if len(names) > maxKeyFiles {
		return nil, fmt.Errorf("%s holds %d files; at most %d are read", path, len(names), maxKeyFiles)
	}
	return names, nil
}

// isLeftOver reports whether a file is hidden, or is one that editors and package managers leave behind.
func isLeftOver(name string) bool {
	if strings.HasPrefix(name, ".") || strings.HasPrefix(name, "#") || strings.HasSuffix(name, "~") {
		return true
	}
	switch strings.ToLower(filepath.Ext(name)) {
	case ".bak", ".backup", ".old", ".orig", ".save", ".swp", ".swo", ".tmp", ".rej", ".dpkg-old", ".dpkg-new", ".dpkg-dist",
		".rpmsave", ".rpmnew", ".rpmorig":
		return true
	}
	return false
}

// keyFile is what was read of a file.
type keyFile struct {
	name string
	text []byte
	mode os.FileMode
}

func readKeyFiles(path string) ([]keyFile, error) {
	names, err := keyFileNames(path)
	if err != nil {
		return nil, err
	}
	files := make([]keyFile, len(names))
	for i, name := range names {
		if files[i], err = readKeyFile(name); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// sumOf is the same as long as the files hold the same texts in the same order.
func sumOf(files []keyFile) [sha256.Size]byte {
	sum := sha256.New()
	for _, file := range files {
		fmt.Fprintf(sum, "%d:%s", len(file.text), file.text)
	}
	return [sha256.Size]byte(sum.Sum(nil))
}

// readKeyFile reads a regular file of limited length. If the file is a named pipe, it must not wait for a writer.
func readKeyFile(name string) (keyFile, error) {
	file, err := os.OpenFile(name, os.O_RDONLY|openWithoutWaiting, 0)
	if err != nil {
		return keyFile{}, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return keyFile{}, err
	}
	if !info.Mode().IsRegular() {
		return keyFile{}, fmt.Errorf("%s is not a regular file", name)
	}
	text, err := io.ReadAll(io.LimitReader(file, maxKeyFile+1))
	if err == nil && len(text) > maxKeyFile {
		err = fmt.Errorf("%s is longer than %d bytes", name, maxKeyFile)
	}
	return keyFile{name, text, info.Mode()}, err
}

// parseKeyFile returns the keys of a file. isSecret says that the file is the text of a secret.
func parseKeyFile(text []byte) (list []*Key, isSecret bool, err error) {
	text = cleanText(text)
	var k *Key
	switch {
	case isSet(text):
		list, err = parseSet(text)
		return list, false, err
	case bytes.HasPrefix(text, []byte("{")):
		k, err = parseJWK(text)
	case bytes.Contains(text, []byte("-----BEGIN")):
		k, err = newPEM(text, spec{})
	case !isText(text):
		err = errors.New("the file is not text: a key file holds PEM, a JWK, a JWK Set, or the text of a secret")
	case bytes.ContainsFunc(text, unicode.IsSpace):
		err = errors.New("the file is no key: it holds PEM, a JWK, a JWK Set, or the text of a secret, which has no white space")
	default:
		k, err = newSecret(text, spec{})
		return []*Key{k}, true, err
	}
	return []*Key{k}, false, err
}

// isSet reports whether a JSON object is a JWK Set and not a single key: it has the member "keys".
func isSet(text []byte) bool {
	s := strictjson.Scan(string(text))
	for s.Next() {
		if s.Name() == "keys" {
			return true
		}
	}
	return false
}
