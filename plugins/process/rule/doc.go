// Package rule evaluates windows over the log. Its engine is pure: what a
// partition of the log yields depends on the records, their order and recorded
// decisions alone, never on a clock, on how records are batched, or on how often
// the state was written and read again.
package rule
