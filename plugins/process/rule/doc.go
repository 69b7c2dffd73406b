// Package rule evaluates windows, patterns and joins over the log. Its engine is deterministic: the results of a
// partition of the log depend only on its records, their order and recorded decisions (steps of idle time, changes of
// rules), never on a clock, on how records are batched, or on how often the state was written and read again.
package rule
