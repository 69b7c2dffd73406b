//go:build pictures

package browser

import (
	"context"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// TestPictures_AreOfARealRun is run by pictures.sh only.
func TestPictures_AreOfARealRun(t *testing.T) {
	dir := os.Getenv("WEIR_PICTURES")
	if dir == "" {
		t.Fatal("WEIR_PICTURES names no folder: see pictures.sh")
	}
	w := start(t)
	p := newTab(t, w)
	now := time.Now()
	var batch []any
	for at := now.Add(-6 * time.Hour); at.Before(now); at = at.Add(15 * time.Second) {
		day := now.Sub(at).Minutes() / 110
		batch = append(batch, event("pump-000003", at, map[string]any{"metrics": map[string]any{
			"cpu_temp": 62 + 9*math.Sin(day) + 2.2*rand.NormFloat64(), "battery_voltage": 3.7 + 0.02*rand.NormFloat64(),
			"vibration": 0.8 + 0.1*rand.Float64(), "pressure": 101 + 0.4*rand.NormFloat64(), "humidity": 41 + 3*math.Cos(day)}}))
		if len(batch) == 100 {
			w.post(batch...)
			batch = nil
		}
	}
	w.post(batch...)
	for i := range 8 {
		w.post(event("pump-000007", now.Add(time.Duration(i-9)*10*time.Second), map[string]any{
			"metrics": map[string]any{"cpu_temp": 94 + float64(i)/2, "battery_voltage": 3.7, "vibration": 0.2}}))
	}
	simulated := exec.Command(w.bin, "fleet", "--url", "http://"+w.ingest, "--quiet", "--devices", "60", "--prefix",
		"pump", "--rate", "120", "--duration", "10m", "--malformed", "1", "--duplicates", "5", "--retry")
	simulated.Env = append(os.Environ(), "WEIR_KEY="+w.key)
	if err := simulated.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = simulated.Process.Kill()
		_ = simulated.Wait() // reports the kill
	}()
	p.signIn(w.admin)
	w.did("POST", "/v1/proof", w.admin, "")
	for _, picture := range []struct {
		name, path, theme, shows string
		width, height            int64
	}{
		{"console-overview-light", "/", "light", "Proved", 1280, 860},
		{"console-device-dark", device(fleet, "pump-000003") + "&metric=cpu_temp&range=6h", "dark", "readings in 3",
			1280, 980},
		{"console-phone", "/", "dark", "It adds up.", 390, 844},
	} {
		p.look(picture.width, picture.theme)
		p.open(picture.path)
		p.says(picture.shows)
		time.Sleep(8 * time.Second) // so that the charts have some points
		var raw []byte
		p.run(chromedp.ActionFunc(func(ctx context.Context) (err error) {
			raw, err = page.CaptureScreenshot().WithClip(&page.Viewport{Width: float64(picture.width),
				Height: float64(picture.height), Scale: 1}).WithCaptureBeyondViewport(true).Do(ctx)
			return err
		}))
		if err := os.WriteFile(filepath.Join(dir, picture.name+".png"), raw, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
