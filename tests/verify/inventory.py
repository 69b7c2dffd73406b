"""Counts what the stores hold, by fleet, and the space it takes, with readers
that are not weir's: pyarrow for Parquet, sqlite3 and psycopg for SQL, the file
system or S3's own listing for the space. Prints one JSON object.

  python inventory.py RAW_URL DEAD_LETTER_URL ROLLUP_URL CONTROL_URL
"""

import hashlib
import json
import os
import sqlite3
import sys
from collections import Counter

import pyarrow.fs as fs

import stores

ROLLUPS = ("rollup_window_1m", "rollup_window_1h", "rollup_window_1d")
CONTROL = ("audit_log", "alert", "alert_notice", "replay_job", "dead_letter_outcome", "legal_hold", "maintain_run")


def lake(url, name_of):
    """Rows by fleet, a digest of which rows they are, objects and bytes."""
    problems, counts, names = [], Counter(), {}
    for row in stores.Lake(url).rows(problems):
        counts[row["fleet"]] += 1
        names.setdefault(row["fleet"], set()).add(str(name_of(row)))
    if problems:
        raise SystemExit("\n".join(problems))
    place = stores.Lake(url)
    found = place.fs.get_file_info(fs.FileSelector(place.root, recursive=True, allow_not_found=True))
    files = [f for f in found if f.is_file]
    digests = {fleet: hashlib.sha256("\n".join(sorted(of)).encode()).hexdigest() for fleet, of in names.items()}
    return {"rows": counts, "digest": digests, "objects": len(files), "bytes": sum(f.size for f in files)}


def database(url, tables, by_fleet):
    if url.startswith(("postgres://", "postgresql://")):
        return postgres(url, tables, by_fleet)
    path = os.path.abspath(url.removeprefix("sqlite://"))
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)
    present = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    rows = {t: counted(db.execute(query(t, by_fleet)).fetchall(), by_fleet) for t in tables if t in present}
    if "rollup_window_1m" in rows:
        rows["ledgers"] = counted(db.execute(query("rollup_window_1m", True, "ledger IS NOT NULL")).fetchall(), True)
        rows["moved_1m"] = moved(url)
    db.close()
    taken = sum(os.path.getsize(path + suffix) for suffix in ("", "-wal") if os.path.exists(path + suffix))
    return {"rows": rows, "bytes": taken}


def moved(url):
    """Minutes that are in Parquet alone, by fleet."""
    with stores.Rollups(url) as db:
        windows = {(row["fleet"], row["device_id"], row["bucket"]) for row in db.old()}
    return dict(Counter(fleet for fleet, _, _ in windows))


def query(table, by_fleet, where="true"):
    if by_fleet:
        return f"SELECT fleet, count(*) FROM {table} WHERE {where} GROUP BY fleet"
    return f"SELECT '', count(*) FROM {table} WHERE {where}"


def counted(lines, by_fleet):
    return dict(lines) if by_fleet else lines[0][1]


def postgres(url, tables, by_fleet):
    import psycopg

    with psycopg.connect(url) as db:
        present = {name for (name,) in db.execute("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")}
        rows = {t: counted(db.execute(query(t, by_fleet)).fetchall(), by_fleet) for t in tables if t in present}
        if "rollup_window_1m" in rows:
            rows["ledgers"] = counted(db.execute(query("rollup_window_1m", True, "ledger IS NOT NULL")).fetchall(), True)
            rows["moved_1m"] = moved(url)
        partitions = [name for (name,) in db.execute(
            "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE c.relkind = 'r' ORDER BY 1")]
        taken = db.execute("SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint FROM pg_class c "
                           "WHERE c.relkind = 'r' AND c.relname LIKE 'rollup_window_%'").fetchone()[0]
    return {"rows": rows, "bytes": taken, "partitions": partitions}


def main():
    raw, dead_letters, rollups, control = sys.argv[1:]
    print(json.dumps({
        "raw": lake(raw, lambda row: row["event_id"]),
        "dead_letters": lake(dead_letters, lambda row: row["id"]),
        "rollups": database(rollups, ROLLUPS, True),
        "control": database(control, CONTROL, False),
    }))


if __name__ == "__main__":
    main()
