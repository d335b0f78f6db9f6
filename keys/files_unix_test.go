//go:build unix

package keys_test

import (
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/keys"
)

func TestANamedPipeIsNoKeyFile(t *testing.T) {
	f := newFolder(t)
	require.NoError(t, syscall.Mkfifo(filepath.Join(f.path, "x"), 0o600))
	_, err := keys.OpenFiles(f.path, silent)
	require.ErrorContains(t, err, "not a regular file")
}

// A pipe that appears later must not block the goroutine that reads the files. It would also block Close.
func TestAPipeDoesNotBlockClose(t *testing.T) {
	var log syncBuffer
	f := newFolder(t)
	f.write("1", string(secret))
	files := f.open(keys.WithLogger(log.logger()))
	require.NoError(t, syscall.Mkfifo(filepath.Join(f.path, "2"), 0o600))
	require.Eventually(t, func() bool { return log.String() != "" }, 20*time.Second, 10*time.Millisecond)
	require.Contains(t, log.String(), "not a regular file")
	require.NoError(t, files.Close())
}
