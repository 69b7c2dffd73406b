#!/usr/bin/env bash
# Builds the engine with its sql_select input, which weir lacks, and a PostgreSQL driver, in the versions of weir's
# go.mod. usage: build.sh FILE
set -euo pipefail
repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../../.." && pwd)
out=$(realpath -m "$1")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/internal"
cp -r "$repo/go.mod" "$repo/go.sum" "$work"
cp -r "$repo/internal/zstd" "$work/internal" # go.mod replaces a module by it
cd "$work"
cat >main.go <<'GO'
package main

import (
	"context"

	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/redpanda-data/benthos/v4/public/service"
	_ "github.com/redpanda-data/connect/v4/public/components/io"
	_ "github.com/redpanda-data/connect/v4/public/components/pure"
	_ "github.com/redpanda-data/connect/v4/public/components/sql/base"
)

func main() { service.RunCLI(context.Background()) }
GO
CGO_ENABLED=0 go build -mod=mod -o "$out" .
