"""Counts a funnel of events with DuckDB: an answer that weir's analytics must give, too.

Usage: funnel_check.py EVENTS.ndjson [FROM TO]... Prints a JSON list with an answer for each range, in microseconds, of
attempts that were decided in it: entries, devices, and devices by step.
"""
import json
import sys

import duckdb

STEPS = ["product_viewed", "cart_added", "checkout_started", "order_placed"]
HOUR = 3_600_000_000

db = duckdb.connect()
db.execute("SET TimeZone = 'UTC'")
db.execute(
    """
    CREATE TABLE event AS
    SELECT DISTINCT device_id AS device, metadata.type AS kind, epoch_us(timestamp::TIMESTAMPTZ) AS us,
        {us: epoch_us(timestamp::TIMESTAMPTZ), id: event_id} AS ord
    FROM read_json(?, format = 'newline_delimited', columns = {event_id: 'VARCHAR', device_id: 'VARCHAR',
        timestamp: 'VARCHAR', metadata: 'STRUCT("type" VARCHAR)'})
    """,
    [sys.argv[1]],
)
# from each first step on, the earliest next one behind the one before, within an hour of the first
db.execute(
    "CREATE TABLE attempt AS SELECT device, us AS began, ord AS s0 FROM event WHERE kind = ?", [STEPS[0]]
)
for i, step in enumerate(STEPS[1:], 1):
    db.execute(
        f"""
        CREATE OR REPLACE TABLE attempt AS
        SELECT a.*, (SELECT min(e.ord) FROM event e WHERE e.kind = '{step}' AND e.device = a.device
            AND e.ord > a.s{i - 1} AND e.us <= a.began + {HOUR}) AS s{i}
        FROM attempt a
        """
    )
answers = []
ends = [int(text) for text in sys.argv[2:]]
for begin, end in zip(ends[::2], ends[1::2]):
    answers.append(
        list(
            db.execute(
                """
                SELECT sum(entries)::BIGINT, count(*), count(*) FILTER (made >= 1), count(*) FILTER (made >= 2),
                    count(*) FILTER (made >= 3), count(*) FILTER (made >= 4)
                FROM (SELECT device, count(*) AS entries, max(1 + (s1 IS NOT NULL)::INT + (s2 IS NOT NULL)::INT
                        + (s3 IS NOT NULL)::INT) AS made
                    FROM attempt WHERE coalesce(s3, s2, s1, s0).us >= ? AND coalesce(s3, s2, s1, s0).us < ?
                    GROUP BY device)
                """,
                [begin, end],
            ).fetchone()
        )
    )
print(json.dumps(answers))
