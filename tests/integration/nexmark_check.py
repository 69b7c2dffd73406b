"""Answers Nexmark's q12, q15 and q17 with DuckDB: weir's rules must answer the same.

Usage: nexmark_check.py EVENTS.ndjson. Prints one line of JSON for each row of each answer.
"""
import json
import sys

import duckdb

db = duckdb.connect()
db.execute("SET TimeZone = 'UTC'")
db.execute(
    """
    CREATE VIEW bid AS
    SELECT auction, bidder, metrics.price AS price, timestamp::TIMESTAMPTZ AS ts
    FROM read_json(?, format = 'newline_delimited', columns = {kind: 'VARCHAR', auction: 'BIGINT', bidder: 'BIGINT',
        timestamp: 'VARCHAR', metrics: 'STRUCT(price BIGINT)'})
    WHERE kind = 'bid'
    """.replace("?", "'" + sys.argv[1].replace("'", "''") + "'")
)

RANKS = {"rank1": "price < 10000", "rank2": "price >= 10000 AND price < 1000000", "rank3": "price >= 1000000"}


def ranked(name, aggregate):
    return ", ".join(f"{aggregate} FILTER (WHERE {where}) AS {rank}_{name}" for rank, where in RANKS.items())


def answer(name, key, begin, values):
    rows = db.execute(f"SELECT {key} AS k, epoch_us({begin}) AS s, {values} FROM bid GROUP BY ALL")
    columns = [c[0] for c in rows.description]
    for row in rows.fetchall():
        print(json.dumps(dict(zip(columns, row), rule=name)))


answer("q12", "bidder", "time_bucket(INTERVAL 10 SECOND, ts)", "count(*) AS bids")
answer(
    "q15",
    "'house'",
    "date_trunc('day', ts)",
    f"""count(*) AS total_bids, {ranked("bids", "count(*)")},
        count(DISTINCT bidder) AS total_bidders, {ranked("bidders", "count(DISTINCT bidder)")},
        count(DISTINCT auction) AS total_auctions, {ranked("auctions", "count(DISTINCT auction)")}""",
)
answer(
    "q17",
    "auction",
    "date_trunc('day', ts)",
    f"""count(*) AS total_bids, {ranked("bids", "count(*)")}, min(price) AS min_price, max(price) AS max_price,
        avg(price) AS avg_price, sum(price)::DOUBLE AS sum_price""",
)
