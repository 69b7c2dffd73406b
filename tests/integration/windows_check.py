"""Counts windows of events with DuckDB: an answer that weir's engine must give, too.

Usage: windows_check.py EVENTS.ndjson. Prints one line of JSON for each window.
"""
import json
import sys

import duckdb

db = duckdb.connect()
db.execute("SET TimeZone = 'UTC'")
db.execute(
    """
    CREATE TABLE event AS
    SELECT event_id AS id, device_id AS device, device_firmware_version AS firmware,
           epoch_us(timestamp::TIMESTAMPTZ) AS us, timestamp::TIMESTAMPTZ AS ts, metrics.v AS v,
           metrics.w AS w, {a: epoch_us(timestamp::TIMESTAMPTZ), i: event_id} AS ord
    FROM read_json(?, format = 'newline_delimited', columns = {event_id: 'VARCHAR', device_id: 'VARCHAR',
        device_firmware_version: 'VARCHAR', timestamp: 'VARCHAR', metrics: 'STRUCT(v DOUBLE, w DOUBLE)'})
    """,
    [sys.argv[1]],
)

AGGREGATES = """
    count(*) AS n, count(v) AS nv, sum(v) AS total, min(v) AS low, max(v) AS high, avg(v) AS mean, stddev_samp(v) AS sd,
    quantile_disc(v, 0.5) AS p50, count(DISTINCT firmware) AS kinds, arg_min(firmware, ord) AS first_fw,
    arg_max(firmware, ord) AS last_fw
"""


def windows(name, source):
    """source yields device, start and last (both in microseconds), and the event's columns."""
    rows = db.execute(f"SELECT device, s, e, {AGGREGATES} FROM ({source}) GROUP BY device, s, e")
    columns = [c[0] for c in rows.description]
    for row in rows.fetchall():
        print(json.dumps(dict(zip(columns, row), rule=name)))


def floored(unit, us="us"):
    return f"({us} - (({us} % {unit}) + {unit}) % {unit})"


def sliding(name, size, every):
    # every window that begins at a multiple of `every` and holds the event
    first = floored(every, f"(us - {size})")
    windows(
        name,
        f"""SELECT *, s + {size} AS e FROM
            (SELECT *, unnest(range({first} + {every}, us + 1, {every})) AS s FROM event)""",
    )


def zoned(name, unit, zone):
    begin = f"date_trunc('{unit}', timezone('{zone}', ts))"
    windows(
        name,
        f"""SELECT *, epoch_us(timezone('{zone}', {begin})) AS s,
            epoch_us(timezone('{zone}', {begin} + INTERVAL 1 {unit})) AS e FROM event""",
    )


def session(name, gap):
    windows(
        name,
        f"""SELECT *, min(us) OVER (PARTITION BY device, nr) AS s, max(us) OVER (PARTITION BY device, nr) + {gap} AS e
            FROM (SELECT *, sum(begins) OVER (PARTITION BY device ORDER BY us, id) AS nr
            FROM (SELECT *, CASE WHEN us - lag(us) OVER (PARTITION BY device ORDER BY us, id) <= {gap} THEN 0 ELSE 1 END
            AS begins FROM event))""",
    )


SECOND = 1_000_000
sliding("minutes", 60 * SECOND, 60 * SECOND)
sliding("odd", 1_600_000, 700_000)
sliding("slow", 300 * SECOND, 30 * SECOND)
session("visits", 20 * SECOND)
zoned("berlin", "day", "Europe/Berlin")
zoned("kathmandu", "day", "Asia/Kathmandu")
zoned("weeks", "week", "America/New_York")
zoned("months", "month", "Australia/Lord_Howe")
