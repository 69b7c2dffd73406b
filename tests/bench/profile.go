package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
)

// keepProfile saves an eight-second CPU profile of a process, the allocations of another eight seconds and then a
// heap profile. A failure is printed and does not stop the measurement.
func (b *bench) keepProfile(ctx context.Context, ops, name string) {
	if err := os.MkdirAll(b.profile, 0o755); err != nil {
		fmt.Fprintf(os.Stderr, "profiling %s: %v\n", name, err)
		return
	}
	for _, of := range [][2]string{{"profile?seconds=8", ".prof"}, {"allocs?seconds=8", ".allocs.prof"},
		{"heap", ".heap.prof"}} {
		path := filepath.Join(b.profile, name+of[1])
		if err := fetch(ctx, "http://"+ops+"/debug/pprof/"+of[0], path); err != nil {
			fmt.Fprintf(os.Stderr, "profiling %s: %v\n", name, err)
			return
		}
		fmt.Fprintf(os.Stderr, "profile: %s\n", path)
	}
}

func fetch(ctx context.Context, url, path string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: status %s", url, resp.Status)
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if _, err := io.Copy(f, resp.Body); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
