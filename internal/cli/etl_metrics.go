package cli

import (
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"weir/internal/platform/listen"
	"weir/plugins/operate/etl"
)

// watchETL serves a stream's progress as metrics on a loopback address. Without an address it does nothing.
func watchETL(address, pipeline string, o *etl.Options) (stop func(), err error) {
	if address == "" {
		return func() {}, nil
	}
	if !listen.Loopback(address) {
		return nil, usageError{fmt.Errorf("reading --%s: expected an address on loopback, such as 127.0.0.1:4196",
			flagMetrics)}
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listening for metrics: %w", err)
	}
	all := prometheus.NewRegistry()
	o.Watch = etlMetrics(all, pipeline)
	server := &http.Server{Handler: promhttp.HandlerFor(all, promhttp.HandlerOpts{}), ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(l) }() // until it is closed
	return func() { _ = server.Close() }, nil
}

// etlMetrics registers the metrics of a stream at 0 and returns a function that sets them.
func etlMetrics(all *prometheus.Registry, pipeline string) func(etl.Progress) {
	labels := prometheus.Labels{"pipeline": pipeline}
	gauge := func(name, help string, by ...string) *prometheus.GaugeVec {
		g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: labels}, by)
		all.MustRegister(g)
		return g
	}
	rows := gauge("weir_etl_stream_rows", "rows that the stream has counted since its account began, by what became of "+
		"them", "outcome")
	lag := gauge("weir_etl_stream_lag_records", "offsets of the partition that were not read yet", "partition")
	bytes := gauge("weir_etl_stream_lag_bytes", "bytes of a database's log that were not read yet")
	delay := gauge("weir_etl_stream_delay_seconds",
		"time from the append, or the commit, of the oldest record of the last "+
			"batch to all sinks")
	batches := gauge("weir_etl_stream_batches", "batches that all sinks have")
	set := func(now etl.Progress) {
		c := now.Counts
		for outcome, n := range map[string]int64{"read": c.Read, "filtered": c.Filtered, "dropped": c.Dropped,
			"rejected": c.Rejected, "written": c.Written} {
			rows.WithLabelValues(outcome).Set(float64(n))
		}
		behind := 0.0
		for n, much := range now.Lag {
			if now.Unit == etl.UnitBytes {
				behind += float64(much)
			} else {
				lag.WithLabelValues(strconv.Itoa(int(n))).Set(float64(much))
			}
		}
		bytes.WithLabelValues().Set(behind)
		delay.WithLabelValues().Set(now.Behind.Seconds())
		batches.WithLabelValues().Set(float64(now.Batches))
	}
	set(etl.Progress{})
	return set
}
