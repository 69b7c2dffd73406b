"""Reads what the pipelines of deploy/etl left in S3, row by row: check.py ENDPOINT <SECRET."""

import os
import sys
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal

import deltalake
import duckdb
import pyarrow.fs
import pyarrow.parquet

endpoint, secret = sys.argv[1], sys.stdin.read()
options = {"aws_endpoint": endpoint, "aws_access_key_id": "weir", "aws_secret_access_key": secret,
           "aws_region": "us-east-1", "aws_allow_http": "true", "aws_virtual_hosted_style_request": "false"}
files = pyarrow.fs.S3FileSystem(access_key="weir", secret_key=secret, scheme="http", region="us-east-1",
                                endpoint_override=endpoint.removeprefix("http://"))


def delta(table):
    return deltalake.DeltaTable("s3://weir-lake/" + table, storage_options=options).to_pyarrow_table()


def same(what, got, want):
    got, want = sorted(got, key=repr), sorted(want, key=repr)
    if got != want:
        first = next((p for p in zip(got, want) if p[0] != p[1]), None)
        sys.exit(f"{what}: {len(got)} rows, want {len(want)}; the first that differs: {first}")


orders = pyarrow.parquet.read_table("weir-lake/shop/orders.parquet", filesystem=files)
new_year = datetime(2026, 1, 1, tzinfo=timezone.utc)
at = {n: new_year + n * timedelta(minutes=7) for n in range(1, 10001)}
same("orders", (tuple(r.values()) for r in orders.to_pylist()),
     ((n, n % 400, Decimal(n * 37 % 100000) / 100, at[n], {0: "", 1: 'é "quoted"'}.get(n % 7), at[n].date())
      for n in at if n % 50))

names = ["id", "name", "country", "customer_since", "credit"]
same("customers", (tuple(r[name] for name in names) for r in delta("shop/customers").to_pylist()),
     ((n, f"customer {n}", ["DE", "FR", "IT"][n % 3], datetime(2020, 1, 1) + timedelta(days=n),
       None if n % 10 == 0 else Decimal(n) * Decimal("1.25")) for n in range(400)))

readings = delta("plant/readings")
same("readings", ((r["sensor"], r["celsius"]) for r in readings.to_pylist()),
     ((f"s-{n % 40}", float(f"{15 + n % 17}.{n % 10}")) for n in range(1, 6001) if n % 100))
of, days = duckdb.sql("""SELECT count(DISTINCT (of, at_offset)), (SELECT count(DISTINCT "day") FROM orders)
                         FROM readings""").fetchone()
if (of, days) != (5940, len({t.date() for n, t in at.items() if n % 50})):
    sys.exit(f"{of} places in the topic, {days} days")
rejects = {"orders.ndjson": 0, "readings": 0}
for f in files.get_file_info(pyarrow.fs.FileSelector("weir-lake/rejects", recursive=True)):
    if f.is_file and f.path.endswith(".ndjson"):
        rejects[f.path.split("/")[2]] += len(files.open_input_stream(f.path).read().splitlines())
if rejects != {"orders.ndjson": 200, "readings": 60}:
    sys.exit(f"rejects: {rejects}")
os._exit(0)  # threads of delta-rs do not always end well
