"""Reads a raw store's folder with two readers that are not weir's, pyarrow and
DuckDB, checks that they agree row for row and that every row lies in the folder
of its date, and prints the rows as JSON lines: what the test that wrote them
compares with what it sent.

  python parquet_check.py FOLDER

The interpreter comes from tests/integration/venv.sh, which installs
requirements.txt. A Go test (plugins/store/raw) runs this; without the environment it
is skipped with the reason printed, except in CI, where it fails.
"""

import glob
import json
import math
import sys
import uuid
from datetime import datetime, timezone

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

JSON_COLUMNS = ("diagnostics", "extra", "as_sent")
TIMES = ("timestamp", "effective_time", "received_at")


def micros(value):
    """A time as microseconds since 1970; pyarrow and DuckDB give it differently."""
    if value is None or isinstance(value, int):
        return value
    if value.tzinfo is None:
        value = value.replace(tzinfo=timezone.utc)
    delta = value - datetime(1970, 1, 1, tzinfo=timezone.utc)
    return (delta.days * 86400 + delta.seconds) * 1_000_000 + delta.microseconds


def normal(row):
    row = dict(row)
    if isinstance(row["event_id"], bytes):
        row["event_id"] = str(uuid.UUID(bytes=row["event_id"]))
    row["event_id"] = str(row["event_id"])
    for name in TIMES:
        row[name] = micros(row[name])
    for name in JSON_COLUMNS:
        if isinstance(row[name], bytes):
            row[name] = row[name].decode()
        if row[name] is not None:
            row[name] = json.loads(row[name])
    metrics = row["metrics"]
    row["metrics"] = dict(metrics) if not isinstance(metrics, dict) else metrics
    for value in row["metrics"].values():
        if not math.isfinite(value):
            sys.exit(f"a metric is {value}: {row}")
    return row


def from_pyarrow(folder):
    rows, covered = [], 0
    for path in sorted(glob.glob(f"{folder}/date=*/*.parquet")):
        date = path.split("date=")[1][:10]
        file = pq.ParquetFile(path)
        meta = file.schema_arrow.metadata or {}
        meta.update(file.metadata.metadata or {})
        if meta.get(b"weir.table") != b"raw/1":
            sys.exit(f"{path}: metadata weir.table is {meta.get(b'weir.table')}")
        coverage = json.loads(meta[b"weir.coverage"])
        covered += sum(sum(pairs[1::2]) for pairs in coverage.get("stored", {}).values())
        table = file.read()
        for i, name in enumerate(table.schema.names):
            if pa.types.is_timestamp(table.schema.field(i).type):  # beyond what Python's datetime holds
                table = table.set_column(i, name, table.column(i).cast(pa.int64()))
        last = None
        for row in table.to_pylist():
            row = normal(row)
            at = row["timestamp"] if row["effective_time"] is None else row["effective_time"]
            day = at // 86_400_000_000
            if day != datetime.fromisoformat(date).toordinal() - datetime(1970, 1, 1).toordinal():
                sys.exit(f"{path}: a row of {at} lies here")
            if last is not None and (row["device_id"], at) < last:
                sys.exit(f"{path}: not sorted by device and time: {last}, then {(row['device_id'], at)}")
            last = (row["device_id"], at)
            rows.append(row)
        for group in range(file.metadata.num_row_groups):
            column = file.metadata.row_group(group).column(2)
            if column.path_in_schema != "device_id" or not column.statistics.has_min_max:
                sys.exit(f"{path}: no statistics of device_id")
    if covered != len(rows):
        sys.exit(f"the objects' metadata covers {covered} records, they hold {len(rows)} rows")
    return rows


def from_duckdb(folder):
    db = duckdb.connect()
    columns = "* replace (" + ", ".join(f"epoch_us({n}) as {n}" for n in TIMES) + ")"
    query = f"select {columns} exclude (date) from read_parquet('{folder}/date=*/*.parquet', hive_partitioning = true)"
    query = query.replace("* replace", "* exclude (date) replace").replace(" exclude (date) from", " from")
    cursor = db.execute(query)
    names = [d[0] for d in cursor.description]
    return [normal(zip(names, row)) for row in cursor.fetchall()]


def main():
    folder = sys.argv[1]
    order = lambda row: (row["topic"] or "", row["partition"] or 0, row["offset"] or 0)
    ours, theirs = sorted(from_pyarrow(folder), key=order), sorted(from_duckdb(folder), key=order)
    if len(ours) != len(theirs):
        sys.exit(f"pyarrow reads {len(ours)} rows, DuckDB {len(theirs)}")
    for a, b in zip(ours, theirs):
        if a != b:
            sys.exit(f"pyarrow and DuckDB disagree:\n{a}\n{b}")
        print(json.dumps(a))


if __name__ == "__main__":
    main()
