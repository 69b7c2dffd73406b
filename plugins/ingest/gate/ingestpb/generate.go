// Package ingestpb is the published contract of the gate's gRPC side, and the
// code generated from it.
package ingestpb

//go:generate protoc --go_out=. --go_opt=paths=source_relative --go-grpc_out=. --go-grpc_opt=paths=source_relative ingest.proto
