package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// File keeps the tokens in a file that processes of one user can share. The file has the mode 0600 and is replaced
// atomically. Beside it lies a lock file with the ending ".lock", which stays. On Unix the lock is advisory (flock)
// and ends with its process. Elsewhere the lock file exists only while the lock is held; if its process dies, the
// others cannot go on for three minutes. The file system must be a local one. The path may be a symbolic link to the file.
//
// A File is for one service: a client with another base URL would send it these tokens, and drop them if they are refused there.
//
// The directory must exist, and only its owner should be able to write to it. A container must mount the directory and not the
// file alone, because the file is replaced. All processes must run as one user: the file belongs to the one who has saved it
// last. If another user signs in with the file, a program that goes on acts as that user: keep a file for each. If a process
// is killed while it saves, a file with the ending ".new" can stay there, which has tokens; a later process that saves removes
// it. A program that ends soon calls [Client.Wait] first. A File is safe for concurrent use. Its errors name no token.
type File struct{ path string }

// NewFile returns the store at path. It touches no file.
func NewFile(path string) *File { return &File{path} }

const maxFile = 64 << 10

// target is the file itself if path is a symbolic link to it. Otherwise Save would replace the link.
func (f *File) target() string {
	path := f.path
	for range 40 { // as many links as Linux follows
		next, err := os.Readlink(path)
		if err != nil {
			break
		}
		if !filepath.IsAbs(next) {
			dir, err := filepath.EvalSymlinks(filepath.Dir(path)) // otherwise ".." in next would mean another directory
			if err != nil {
				break
			}
			next = filepath.Join(dir, next)
		}
		path = next
	}
	return path
}

// Load reads the file. Without a file it returns the zero Tokens. A file that other users can read is an error on Unix, because
// the tokens may be known to them. A file of something else is an error too. A login replaces it.
func (f *File) Load(context.Context) (tokens Tokens, err error) {
	file, err := os.Open(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return Tokens{}, nil
	} else if err != nil {
		return Tokens{}, fmt.Errorf("client.File: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return Tokens{}, fmt.Errorf("client.File: %w", err)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		return Tokens{}, fmt.Errorf("client.File: other users have access to %s (mode %04o); use 0600", f.path, info.Mode().Perm())
	}
	data, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return Tokens{}, fmt.Errorf("client.File: %w", err)
	}
	bad := len(data) > maxFile || json.Unmarshal(data, &tokens) != nil // an error of json can quote the content
	if bad || tokens.AccessToken == "" || tokens.RefreshToken == "" {
		return Tokens{}, fmt.Errorf("client.File: %s is not a file of tokens; remove it and sign in again", f.path)
	}
	return tokens, nil
}

// Save writes the tokens to a new file, waits until it is on the disk, and renames it over the old one.
func (f *File) Save(_ context.Context, tokens Tokens) error {
	path := f.target()
	if tokens == (Tokens{}) {
		removeHalfSaved(path, 0)
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("client.File: %w", err)
		}
		return nil
	}
	data, err := json.Marshal(tokens)
	if err != nil {
		return errors.New("client.File: the tokens cannot be written as JSON")
	}
	removeHalfSaved(path, halfTime)
	if err := replace(path, data); err != nil {
		return fmt.Errorf("client.File: %w", err)
	}
	return nil
}

// halfSaved is the ending of a new file until it is renamed, and halfTime is how long that takes at most.
const (
	halfSaved = ".new"
	halfTime  = time.Minute
)

// removeHalfSaved removes what processes that were killed have left, if it is older than that. Failures do not matter: the next one
// tries again.
func removeHalfSaved(path string, age time.Duration) {
	dir, base := filepath.Split(path)
	entries, _ := os.ReadDir(filepath.Clean(dir))
	for _, entry := range entries {
		name := entry.Name()
		if !strings.HasPrefix(name, base+".") || !strings.HasSuffix(name, halfSaved) {
			continue
		}
		if info, err := entry.Info(); err == nil && time.Since(info.ModTime()) > age {
			_ = os.Remove(dir + name)
		}
	}
}

func replace(path string, data []byte) error {
	dir := filepath.Dir(path)
	file, err := os.CreateTemp(dir, filepath.Base(path)+".*"+halfSaved) // mode 0600
	if err != nil {
		return err
	}
	if info, statErr := file.Stat(); statErr == nil && runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		err = fmt.Errorf("the file system of %s gives other users access to all files (mode %04o); choose another directory", dir, info.Mode().Perm())
	}
	if err == nil {
		_, err = file.Write(data)
	}
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(file.Name()))
	}
	if d, err := os.Open(dir); err == nil { // not every system can sync a directory
		d.Sync()
		d.Close()
	}
	return nil
}

// lockWait is how long Lock waits. A process whose service is away holds the lock for less, by default.
const lockWait = time.Minute

// Lock waits for the other processes: for a minute at most, because one of them may be stopped. Then the error is [ErrUnavailable].
// If ctx ends first, the error is that of ctx.
func (f *File) Lock(ctx context.Context) (unlock func(), err error) {
	path := f.target() + ".lock"
	for end := time.Now().Add(lockWait); ; {
		unlock, err := tryLock(path)
		if err != nil {
			return nil, fmt.Errorf("client.File: %w", err)
		}
		if unlock != nil {
			return unlock, nil
		}
		if time.Now().After(end) {
			return nil, fmt.Errorf("%w: another process has held %s for a minute; is it stopped?", ErrUnavailable, path)
		}
		if err := sleep(ctx, time.Duration(5+rand.Int64N(20))*time.Millisecond); err != nil {
			return nil, fmt.Errorf("client.File: another process holds %s: %w", path, err)
		}
	}
}
