package browser

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

var pictures = flag.String("pictures", "", "the folder for the pictures of the README; without it they are made and thrown away")

// emulate sets the colours and the size of the screen.
func emulate(scheme string, width, height int64) chromedp.Action {
	return chromedp.Tasks{
		emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}),
		chromedp.EmulateViewport(width, height),
	}
}

func TestPictures(t *testing.T) {
	dir := *pictures
	if dir == "" {
		dir = t.TempDir()
	}
	s := start(t)
	b := openBrowser(t)
	b.open(t, s, "bearer")
	b.signIn(t)
	b.do(t, chromedp.Click("#orders"))
	b.wait(t, says("Classic mug"))
	for _, picture := range []struct {
		name, scheme  string
		width, height int64
	}{{"page-light", "light", 1200, 1000}, {"page-dark", "dark", 1200, 1000}, {"page-phone", "light", 390, 844}} {
		var image []byte
		b.do(t, emulate(picture.scheme, picture.width, picture.height), chromedp.Evaluate("scrollTo(0, 0)", nil),
			chromedp.CaptureScreenshot(&image))
		require.Greater(t, len(image), 10_000, picture.name)
		require.NoError(t, os.WriteFile(filepath.Join(dir, picture.name+".png"), image, 0o644))
		require.LessOrEqual(t, eval[int64](t, b, `document.documentElement.scrollWidth`), picture.width, "%s: wider than the screen", picture.name)
	}
}
