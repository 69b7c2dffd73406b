// Package flow controls pace and waiting: outputs that retry a batch while their store is down, processing that
// yields to requests waiting for a verdict, circuit breakers, and long loops that yield the processor.
package flow
