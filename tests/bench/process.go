package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"weir/internal/simulate"
)

// process is a process under test and its log file.
type process struct {
	cmd  *exec.Cmd
	log  string
	done chan error
}

func (b *bench) spawn(name string, env []string, argv ...string) (*process, error) {
	p := &process{cmd: exec.Command(argv[0], argv[1:]...), log: filepath.Join(b.scratch, name+".log"),
		done: make(chan error, 1)}
	f, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	p.cmd.Dir, p.cmd.Env = b.scratch, append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = f, f
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	go func() { p.done <- p.cmd.Wait() }()
	return p, nil
}

// stop ends the process with SIGTERM, and after 30 s with SIGKILL.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended already
	select {
	case <-p.done:
	case <-time.After(30 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

// await waits up to a minute until the address accepts connections and ready, if not "", answers 200.
func (p *process) await(ctx context.Context, address, ready string) error {
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline) && ctx.Err() == nil; {
		select {
		case err := <-p.done:
			p.done <- err
			raw, _ := os.ReadFile(p.log)
			return fmt.Errorf("%s ended: %v\n%s", p.cmd.Path, err, lastLines(raw, 20))
		default:
		}
		if conn, err := net.Dial("tcp", address); err == nil {
			conn.Close()
			if ready == "" {
				return nil
			}
			if resp, err := http.Get(ready); err == nil {
				resp.Body.Close()
				if resp.StatusCode == http.StatusOK {
					return nil
				}
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	return errors.Join(fmt.Errorf("%s was not ready within a minute", p.cmd.Path), ctx.Err())
}

func lastLines(raw []byte, n int) string {
	lines := bytes.Split(bytes.TrimSpace(raw), []byte("\n"))
	return string(bytes.Join(lines[max(len(lines)-n, 0):], []byte("\n")))
}

// usage is the resources that a process has used so far.
type usage struct {
	cpu  time.Duration
	peak float64 // peak memory in MiB
	now  float64 // current memory in MiB
}

// ticks is the unit of CPU time in /proc, per second: USER_HZ, which is 100 on every Linux that Go supports.
const ticks = 100

func (p *process) usage() (usage, error) {
	proc := fmt.Sprintf("/proc/%d/", p.cmd.Process.Pid)
	stat, err := os.ReadFile(proc + "stat")
	if err != nil {
		return usage{}, fmt.Errorf("reading CPU time: %w", err)
	}
	// The second field is the name in parentheses and may hold anything.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	user, err1 := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	if err := errors.Join(err1, err2); err != nil {
		return usage{}, fmt.Errorf("reading CPU time: %w", err)
	}
	u := usage{cpu: time.Duration(user+system) * time.Second / ticks}
	status, err := os.ReadFile(proc + "status")
	if err != nil {
		return u, fmt.Errorf("reading memory: %w", err)
	}
	for line := range strings.Lines(string(status)) {
		name, rest, _ := strings.Cut(line, ":")
		into := map[string]*float64{"VmHWM": &u.peak, "VmRSS": &u.now}[name]
		if into == nil {
			continue
		}
		kib, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 64)
		if err != nil {
			return u, fmt.Errorf("reading memory: %w", err)
		}
		*into = kib / 1024
	}
	return u, nil
}

// load runs the simulator against a URL and returns its summary.
func (b *bench) load(ctx context.Context, url, key string, args ...string) (*simulate.Summary, error) {
	cmd := exec.CommandContext(ctx, b.binary, append([]string{"fleet", "--url", url, "--json", "--quiet"}, args...)...)
	cmd.Env = append(os.Environ(), "WEIR_KEY="+key)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	s := new(simulate.Summary)
	if jerr := json.Unmarshal(out.Bytes(), s); jerr != nil {
		return nil, fmt.Errorf("running the simulator: %w: %s", errors.Join(err, jerr), errs.String())
	}
	if err != nil {
		return nil, fmt.Errorf("running the simulator: %w: %s", err, errs.String())
	}
	return s, nil
}
