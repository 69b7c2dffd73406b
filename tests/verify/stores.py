"""Reads what weir stored, with readers that are not weir's: pyarrow for Parquet,
sqlite3 and psycopg for SQL."""

import base64
import json
import os
import sqlite3
from collections import Counter
from datetime import datetime, timezone
from urllib.parse import parse_qs, urlencode, urlsplit
from urllib.request import Request, urlopen

import pyarrow.compute as pc
import pyarrow.fs as fs
import pyarrow.parquet as pq


class Lake:
    """The Parquet objects below a URL: a folder, file:///folder or s3://bucket/prefix?endpoint=…"""

    def __init__(self, url):
        parts = urlsplit(url)
        if parts.scheme == "s3":
            query = {k: v[0] for k, v in parse_qs(parts.query).items()}
            endpoint = urlsplit(query.get("endpoint", ""))
            self.fs = fs.S3FileSystem(
                endpoint_override=endpoint.netloc or None,
                scheme=endpoint.scheme or "https",
                region=query.get("region"),
            )
            self.root = (parts.netloc + parts.path).rstrip("/") + "/" + query.get("prefix", "").strip("/")
        else:
            self.fs = fs.LocalFileSystem()
            self.root = os.path.abspath(parts.path if parts.scheme == "file" else url)

    def objects(self):
        """Paths of the tables; folders that begin with _ or . hold none."""
        found = self.fs.get_file_info(fs.FileSelector(self.root, recursive=True, allow_not_found=True))
        for info in sorted(found, key=lambda i: i.path):
            below = info.path[len(self.root) :].strip("/").split("/")
            hidden = any(part.startswith(("_", ".")) for part in below)
            if info.is_file and info.path.endswith(".parquet") and not hidden:
                yield info.path

    def rows(self, problems):
        """Each row as a dict. An object that is not whole is a problem."""
        folders = {}
        for path in self.objects():
            folders.setdefault(os.path.dirname(path), []).append(path)
        for folder, paths in folders.items():
            for path, table in self.tables(folder, paths, problems):
                for row in as_integers(table).to_pylist():
                    row["object"] = path
                    yield row

    def tables(self, folder, paths, problems):
        """Whole objects of a folder with their paths, all as they are at some time: objects are merged within their
        folder, so when one went away meanwhile, the folder is read again."""
        for _ in range(10):
            found, broken, gone = [], [], None
            for path in paths:
                try:
                    with self.fs.open_input_file(path) as f:
                        found.append((path, pq.ParquetFile(f).read()))
                except FileNotFoundError:
                    gone = path  # compacted or expired
                    break
                except Exception as e:  # every way in which a reader refuses a file
                    broken.append(f"{path}: not a whole Parquet object: {e}")
            if not gone:
                problems += broken
                return found
            paths = [path for path in self.objects() if os.path.dirname(path) == folder]
        raise Changed(gone)


class Changed(Exception):
    """The store changed while it was read: read it again."""


def as_integers(table):
    """Timestamps as microseconds since 1970, which no Python time can shift."""
    for i, column in enumerate(table.schema):
        if str(column.type).startswith("timestamp[us"):
            table = table.set_column(i, column.name, pc.cast(table.column(i), "int64"))
    return table


def raw_events(url, problems):
    for row in Lake(url).rows(problems):
        event_id = row["event_id"]
        if isinstance(event_id, bytes):
            event_id = event_id.hex()
        row["event_id"] = str(event_id).replace("-", "")
        row["metrics"] = dict(row["metrics"] or [])
        yield row


def dead_letters(url, problems):
    for row in Lake(url).rows(problems):
        original = row["original"]
        if row.get("original_encoding") == "base64":
            original = base64.b64decode(original)
        if isinstance(original, bytes):
            original = original.decode("utf-8", "surrogateescape")
        row["original"] = original
        yield row


class Rollups:
    """One state of a rollups' database, whatever is written to it meanwhile."""

    def __init__(self, url):
        self.postgres = url.startswith(("postgres://", "postgresql://"))
        if self.postgres:
            import psycopg

            self.db = psycopg.connect(url)
            self.db.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            tables = "SELECT c.relname FROM pg_class c WHERE c.relnamespace = current_schema()::regnamespace"
        else:
            path = os.path.abspath(url.removeprefix("sqlite://"))
            self.db = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30, isolation_level=None)
            self.db.execute("BEGIN")
            tables = "SELECT name FROM sqlite_master"
        self.moves = "rollup_cold" in {name for (name,) in self.lines(tables)}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.db.close()

    def lines(self, query, *args):
        return self.db.execute(query.replace("?", "%s") if self.postgres else query, args).fetchall()

    def old(self):
        """The rows of published objects whose window is no row of the database: a
        row is the newer one."""
        if not self.moves:
            return
        objects = self.lines("SELECT object, windows FROM rollup_cold ORDER BY object")
        if not objects:
            return
        bucket = "extract(epoch from bucket)::bigint" if self.postgres else "bucket"
        rows = set(self.lines(f"SELECT fleet, device_id, {bucket} FROM rollup_window_1m"))
        lake = Lake(self.lines("SELECT url FROM rollup_tier")[0][0])
        seen = set()
        for name, count in objects:
            path = f"{lake.root}/{name}"
            try:
                with lake.fs.open_input_file(path) as f:
                    table = as_integers(pq.ParquetFile(f).read())
            except FileNotFoundError:
                raise Changed(path) from None  # replaced meanwhile
            windows = set()
            for row in table.to_pylist():
                row["bucket"] //= 1_000_000
                window = (row["fleet"], row["device_id"], row["bucket"])
                if window in seen:
                    raise SystemExit(f"{window} is in two objects, one of them {name}")
                windows.add(window)
                if window not in rows:
                    row["object"] = name
                    yield row
            if len(windows) != count:
                raise SystemExit(f"{name} has {len(windows)} windows, and the database says {count}")
            seen |= windows


def rollups(url, resolution, fleet):
    """(device, metric, bucket) → (count, sum, min, max, avg, p50, p95). bucket is
    seconds since 1970. Minutes are rows, or in Parquet."""
    if "://" not in url and not os.path.exists(url) or url.startswith("sqlite://") and not os.path.exists(url.removeprefix("sqlite://")):
        return {}
    found = {}
    with Rollups(url) as db:
        bucket = "extract(epoch from bucket)::bigint" if db.postgres else "strftime('%s', bucket)"
        lines = db.lines(f"SELECT device_id, metric, {bucket}, count, sum, min, max, avg, p50, p95 FROM rollup_{resolution} WHERE fleet = ?", fleet)
        if resolution == "1m":
            for r in db.old():
                if r["fleet"] == fleet and r["metric"] is not None:
                    lines.append([r["device_id"], r["metric"], r["bucket"], r["count"], r["sum"], r["min"], r["max"],
                                  r["sum"] / r["count"], r["p50"], r["p95"]])
    for line in lines:
        key = (line[0], line[1], int(line[2]))
        if key in found:
            raise SystemExit(f"rollup_{resolution} has two lines for {key}")
        found[key] = line[3:]
    return found


# The longest range in seconds that the API may be asked for at each resolution.
RANGE = {"1m": 30 * 86400, "1h": 700 * 86400, "1d": 7000 * 86400}


def queried(api, key, resolution, devices, first, last):
    """What GET /v1/rollups says of the devices (all of the fleet, merged into
    device "*", when there are none) in [first, last): as rollups() does."""
    found = {}
    for start in range(first, last, RANGE[resolution]):
        end = min(start + RANGE[resolution], last)
        for chunk in [devices[i : i + 100] for i in range(0, len(devices), 100)] or [None]:
            query = {"resolution": resolution, "from": rfc3339(start), "to": rfc3339(end), "limit": "10000"}
            query |= {"device": ",".join(chunk)} if chunk else {"merge": "fleet"}
            while True:
                request = Request(f"{api}/v1/rollups?{urlencode(query)}", headers={"X-API-Key": key})
                with urlopen(request, timeout=60) as response:
                    page = json.load(response)
                for line in page["rollups"]:
                    bucket = int(datetime.fromisoformat(line["bucket"].replace("Z", "+00:00")).timestamp())
                    place = (line["device_id"] or "*", line["metric"], bucket)
                    if place in found:
                        raise SystemExit(f"the API lists {place} at {resolution} twice")
                    found[place] = [line[name] for name in ("count", "sum", "min", "max", "avg", "p50", "p95")]
                if not page["next"]:
                    break
                query["cursor"] = page["next"]
    return found


def queried_events(api, key, kept):
    """How often GET /v1/events gives each event, over the range of those kept."""
    found = Counter()
    if not kept:
        return found
    times = [time for row in kept.values() for time in (row["timestamp"], row["received_at"])]
    query = {"from": rfc3339(min(times) // 1_000_000), "to": rfc3339(max(row["received_at"] for row in kept.values()) // 1_000_000 + 1)}
    query |= {"format": "ndjson", "fields": "event_id", "limit": "10000"}
    while True:
        request = Request(f"{api}/v1/events?{urlencode(query)}", headers={"X-API-Key": key})
        with urlopen(request, timeout=60) as response:
            for line in response:
                found[json.loads(line)["event_id"].replace("-", "").lower()] += 1
            query["cursor"] = response.headers["Weir-Next-Cursor"]
        if not query["cursor"]:
            return found


def rfc3339(seconds):
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
