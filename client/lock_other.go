//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package client

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"time"
)

// staleLock is longer than any refresh holds the lock.
const staleLock = 3 * time.Minute

// tryLock returns nil and no error if somebody else holds the lock: a file that exists and is not stale.
func tryLock(path string) (unlock func(), err error) {
	mine := rand.Text()
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = file.WriteString(mine)
		if err = errors.Join(err, file.Close()); err != nil {
			return nil, errors.Join(err, os.Remove(path))
		}
		return func() {
			if data, err := os.ReadFile(path); err == nil && string(data) == mine {
				os.Remove(path)
			}
		}, nil
	}
	// Windows answers "permission" while a file is being removed.
	if !errors.Is(err, fs.ErrExist) && !errors.Is(err, fs.ErrPermission) {
		return nil, err
	}
	info, statErr := os.Stat(path)
	if statErr == nil && time.Since(info.ModTime()) > staleLock {
		old := path + "." + mine // only one process can rename it
		if os.Rename(path, old) == nil {
			os.Remove(old)
		}
		return nil, nil
	}
	if errors.Is(err, fs.ErrPermission) && errors.Is(statErr, fs.ErrNotExist) {
		return nil, err // the directory cannot be written
	}
	return nil, nil
}
