// Package flow governs how fast work goes and when it waits: an output that
// holds a batch while its store is down, processing that makes way for requests
// that wait for a verdict, and long loops that yield.
package flow
