"""The checker itself, checked: a sound system passes, and each fault is named."""

import contextlib
import io
import json
import os
import sqlite3
import sys
import tempfile
import unittest
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import checks
import stores
import verify
from journal import micros

FLEET = "demo"
SENT, SEEN = "2026-11-21T10:00:00.000000Z", "2026-11-21T10:00:01.000000Z"


def event_of(i, **changes):
    event = {
        "event_id": f"00000000-0000-4000-8000-{i:012d}",
        "device_id": f"sim-{i % 2}",
        "device_firmware_version": "2.1.0",
        "timestamp": "2026-11-21T09:59:58.250Z",
        "metrics": {"cpu_temp": 40 + i / 10, "battery_voltage": 3.7, "vibration": 1.25, "fan_rpm": 900},
        "site": "hall-a",
    }
    return event | changes


class System:
    """Twenty events accepted, one of them sent twice and one ahead of time; one
    rejected; one unknown and stored; one refused."""

    def __init__(self, folder):
        self.folder = folder
        self.journal = [{"type": "run"}]
        self.raw, self.letters, self.lines = [], [], {}
        self.moved = {}  # lines that are in Parquet
        for i in range(20):
            ahead = {"timestamp": "2026-12-24T00:00:00.000Z"} if i == 7 else {}
            self.send(i, event_of(i, **ahead), "clock_ahead" if ahead else "valid", "accepted")
        self.send(20, event_of(3), "duplicate", "accepted", store=False)
        self.send(21, event_of(21, timestamp="yesterday"), "malformed", "rejected", code="invalid_event", store=False)
        self.letters.append({"id": "letter-1", "fleet": FLEET, "code": "invalid_event", "original": json.dumps(event_of(21, timestamp="yesterday")), "stage": "ingest"})
        self.send(22, event_of(22), "valid", "unknown")
        self.send(23, event_of(23), "valid", "refused", store=False)
        self.journal.append({"type": "end"})
        self.roll_up()

    def send(self, seq, event, kind, verdict, code="", store=True):
        head = {"seq": seq, "attempt": 1}
        self.journal.append({"type": "sent"} | head | {"kind": kind, "at": SENT, "event_id": event["event_id"], "event": event})
        self.journal.append({"type": "verdict"} | head | {"event_id": event["event_id"], "verdict": verdict, "code": code, "status": 0, "at": SEEN})
        if store:
            self.raw.append(self.row(event, kind))

    def row(self, event, kind):
        return {
            "event_id": bytes.fromhex(event["event_id"].replace("-", "")),
            "fleet": FLEET,
            "device_id": event["device_id"],
            "firmware": event["device_firmware_version"],
            "timestamp": micros(event["timestamp"]),
            "received_at": micros(SENT) + 500_000,
            "schema": "telemetry/2",
            "flags": "clock_ahead" if kind == "clock_ahead" else None,
            "metrics": [(k, float(v)) for k, v in event["metrics"].items()],
            "diagnostics": None,
            "extra": json.dumps({"site": event["site"]}),
            "topic": "raw-events",
            "partition": 0,
            "offset": len(self.raw),
        }

    def roll_up(self):
        groups = {}
        for row in self.raw:
            at = min(row["timestamp"], row["received_at"])  # enough for these events
            for metric, value in row["metrics"]:
                if metric != "fan_rpm":
                    groups.setdefault((row["device_id"], metric, at // 60_000_000 * 60), []).append(value)
        for key, values in groups.items():
            values.sort()
            n = len(values)
            p50, p95 = values[(n * 50 + 99) // 100 - 1], values[(n * 95 + 99) // 100 - 1]
            self.lines[key] = [n, sum(values), values[0], values[-1], sum(values) / n, p50 * 1.009, p95 * 0.991]

    def write(self):
        os.makedirs(f"{self.folder}/raw/date=2026-11-21")
        os.makedirs(f"{self.folder}/dead-letter/date=2026-11-21/stage=ingest")
        with open(f"{self.folder}/journal", "w") as f:
            for line in self.journal:
                f.write(json.dumps(line).replace(', "event": ', ',"event":') + "\n")
        us = pa.timestamp("us", tz="UTC")
        schema = pa.schema([
            ("event_id", pa.binary(16)), ("fleet", pa.string()), ("device_id", pa.string()), ("firmware", pa.string()),
            ("timestamp", us), ("received_at", us), ("schema", pa.string()), ("flags", pa.string()),
            ("metrics", pa.map_(pa.string(), pa.float64())), ("diagnostics", pa.string()), ("extra", pa.string()),
            ("topic", pa.string()), ("partition", pa.int32()), ("offset", pa.int64()),
        ])
        pq.write_table(pa.Table.from_pylist(self.raw, schema), f"{self.folder}/raw/date=2026-11-21/a.parquet")
        pq.write_table(pa.Table.from_pylist(self.letters), f"{self.folder}/dead-letter/date=2026-11-21/stage=ingest/a.parquet")
        db = sqlite3.connect(f"{self.folder}/rollups.db")
        db.execute("CREATE TABLE rollup_1m (fleet, device_id, metric, bucket, count, sum, min, max, avg, p50, p95)")
        for (device, metric, bucket), stats in self.lines.items():
            db.execute("INSERT INTO rollup_1m VALUES (?,?,?,datetime(?,'unixepoch')||'Z',?,?,?,?,?,?,?)", (FLEET, device, metric, bucket, *stats))
        if self.moved:
            self.write_moved(db)
        db.commit()
        db.close()

    def write_moved(self, db):
        db.execute("CREATE TABLE rollup_window_1m (fleet, device_id, bucket)")
        for device, _, bucket in self.lines:
            db.execute("INSERT INTO rollup_window_1m VALUES (?,?,?)", (FLEET, device, bucket))
        db.execute("CREATE TABLE rollup_tier (url)")
        db.execute("INSERT INTO rollup_tier VALUES (?)", (f"file://{self.folder}/rollups",))
        db.execute("CREATE TABLE rollup_cold (object, windows)")
        db.execute("INSERT INTO rollup_cold VALUES (?,?)", ("rollup_1m/a.parquet", len({(d, b) for d, _, b in self.moved})))
        names = ("count", "sum", "min", "max", "p50", "p95")
        rows = [{"fleet": FLEET, "device_id": d, "metric": m, "bucket": b * 1_000_000, **dict(zip(names, stats[:4] + stats[5:]))}
                for (d, m, b), stats in self.moved.items()]
        table = pa.Table.from_pylist(rows)
        table = table.set_column(3, "bucket", table.column("bucket").cast(pa.timestamp("us", tz="UTC")))
        os.makedirs(f"{self.folder}/rollups/rollup_1m")
        pq.write_table(table, f"{self.folder}/rollups/rollup_1m/a.parquet")
        pq.write_table(table, f"{self.folder}/rollups/rollup_1m/of-a-crash.parquet")

    def move(self, device="sim-0"):
        for key in [k for k in self.lines if k[0] == device]:
            self.moved[key] = self.lines.pop(key)


def line_of(system):
    return next(k for k in system.lines if k[1] == "cpu_temp")


def adjust(i, change):
    def do(system):
        system.lines[line_of(system)][i] = change(system.lines[line_of(system)][i])
    return do


# What is done to a sound system, and the words by which the checker must name it.
FAULTS = {
    "lost": (lambda s: s.raw.pop(5), "was accepted and is not stored"),
    "stored twice": (lambda s: s.raw.append(s.raw[0]), "is stored 2 times, of record ("),
    "a duplicate stored": (lambda s: s.raw.append(s.raw[3] | {"offset": 99}), "is stored 2 times, of records ["),
    "never sent": (lambda s: s.raw.append(s.row(event_of(99), "valid")), "was never sent"),
    "refused yet stored": (lambda s: s.raw.append(s.row(event_of(23), "valid")), "was refused and is stored"),
    "a reading altered": (lambda s: s.raw[0].update(metrics=[("cpu_temp", 40.000001)]), "metrics was"),
    "a field dropped": (lambda s: s.raw[0].update(extra=None), "unknown fields was"),
    "a flag missing": (lambda s: s.raw[7].update(flags=None), "flags was"),
    "received before sent": (lambda s: s.raw[0].update(received_at=micros(SENT) - 2_000_000), "before it was sent"),
    "dead letter missing": (lambda s: s.letters.__setitem__(0, s.letters[0] | {"original": "{}"}), "not in the dead letters"),
    "wrong reason": (lambda s: s.letters[0].update(code="expired"), "in the dead letters as ['expired']"),
    "accepted yet dead": (lambda s: s.letters.append(s.letters[0] | {"original": json.dumps(event_of(1))}), "accepted, yet in the dead letters"),
    "dead letter twice": (lambda s: s.letters.append(s.letters[0]), "2 times in the dead letters"),
    "counted twice": (adjust(0, lambda n: n + 1), "count 12, expected 11"),
    "sum off": (adjust(1, lambda n: n + 1e-6), "sum "),
    "median off": (adjust(5, lambda n: n * 1.003), "p50 "),
    "p95 off": (adjust(6, lambda n: n * 0.997), "p95 "),
    "line missing": (lambda s: s.lines.pop(line_of(s)), "no line for"),
    "line too many": (lambda s: s.lines.update({("ghost", "cpu_temp", 60): [1, 1, 1, 1, 1, 1, 1]}), "no stored event has"),
}


class Verify(unittest.TestCase):
    def run_on(self, break_it=lambda system: None, after=lambda folder: None, options=()):
        with tempfile.TemporaryDirectory() as folder:
            system = System(folder)
            break_it(system)
            system.write()
            after(folder)
            out = io.StringIO()
            args = ["verify", "--data", folder, "--journal", f"{folder}/journal", "--fleet", FLEET, "--resolutions", "1m", *options]
            with mock.patch.object(sys, "argv", args), contextlib.redirect_stdout(out):
                with self.assertRaises(SystemExit) as exit:
                    verify.main()
            return exit.exception.code, out.getvalue()

    def test_a_sound_system_passes(self):
        code, out = self.run_on()
        self.assertEqual(code, 0, out)

    def test_each_fault_is_named(self):
        for name, (break_it, words) in FAULTS.items():
            with self.subTest(name):
                code, out = self.run_on(break_it)
                self.assertEqual(code, 1, out)
                self.assertIn(words, out)

    def test_duplicates_are_excused_while_claims_are_lost_and_nothing_else(self):
        twice = lambda system, i: system.raw.append(system.raw[i] | {"offset": 99})
        code, out = self.run_on(lambda system: twice(system, 3), options=["--claims-lost"])
        self.assertEqual(code, 0, out)
        self.assertIn("1 duplicates while the claims were lost", out)
        code, out = self.run_on(lambda system: twice(system, 4), options=["--claims-lost"])  # which was sent once
        self.assertEqual(code, 1, out)

    def test_two_owners_may_store_a_record_each_and_nothing_else_twice(self):
        code, out = self.run_on(lambda system: system.raw.append(system.raw[3]), options=["--owners-changed"])
        self.assertEqual(code, 0, out)
        self.assertIn("1 rows of two owners", out)
        code, out = self.run_on(lambda system: system.raw.append(system.raw[3] | {"offset": 99}), options=["--owners-changed"])
        self.assertEqual(code, 1, out)
        code, out = self.run_on(lambda system: system.letters.append(system.letters[0]), options=["--owners-changed"])
        self.assertEqual(code, 0, out)
        code, out = self.run_on(lambda system: system.letters.append(system.letters[0] | {"id": "letter-2"}), options=["--owners-changed"])
        self.assertEqual(code, 1, out)

    def test_an_event_that_the_api_gives_twice_or_not_is_named(self):
        self.assertFalse(checks.asked({"a": 1, "b": 2}, {"a": 1, "b": 2}).differences)
        for answers in ({"a": 2, "b": 2}, {"b": 2}, {"a": 1, "b": 2, "c": 1}):
            self.assertEqual(len(checks.asked({"a": 1, "b": 2}, answers).differences), 1)

    def test_old_minutes_count_where_they_have_no_row(self):
        code, out = self.run_on(System.move)
        self.assertEqual(code, 0, out)

        def changed_later(system):
            system.move()
            system.lines |= {k: list(v) for k, v in system.moved.items()}
            for stats in system.moved.values():
                stats[0] -= 1

        code, out = self.run_on(changed_later)
        self.assertEqual(code, 0, out)

    def test_each_fault_of_old_minutes_is_named(self):
        def lost(system):
            system.move()
            system.moved.pop(next(iter(system.moved)))

        def altered(system):
            system.move()
            next(iter(system.moved.values()))[0] += 1

        for words, break_it in {"no line for": lost, "expected 1": altered}.items():
            code, out = self.run_on(break_it)
            self.assertEqual(code, 1, out)
            self.assertIn(words, out)
        code, _ = self.run_on(System.move, after=lambda folder: os.remove(f"{folder}/rollups/rollup_1m/a.parquet"))
        self.assertIn("went away", str(code))

    def test_a_folder_whose_objects_are_merged_while_they_are_read_is_read_again(self):
        stale = set()

        def listed(lake, objects=stores.Lake.objects):
            found = list(objects(lake))
            if lake.root in stale:
                return found
            stale.add(lake.root)  # the first listing, from before the merge
            return [path.replace("a.parquet", "part.parquet") for path in found]

        with mock.patch.object(stores.Lake, "objects", listed):
            with mock.patch.object(verify, "examine", wraps=verify.examine) as rounds:
                code, out = self.run_on()
        self.assertEqual(code, 0, out)
        self.assertEqual(rounds.call_count, 1)
        self.assertEqual(len(stale), 2)  # the raw store and the dead letters

    def test_what_could_not_be_read_is_no_answer_at_the_deadline(self):
        rounds = iter([stores.Changed("a.parquet"), stores.Changed("a.parquet"), None])

        def examined(journal, args, examine=verify.examine):
            if changed := next(rounds):
                raise changed
            return examine(journal, args)

        with mock.patch.object(verify, "examine", examined):
            code, out = self.run_on()
        self.assertEqual(code, 0, out)

    def test_a_torn_object_is_named(self):
        def tear(folder):
            path = f"{folder}/raw/date=2026-11-21/a.parquet"
            os.truncate(path, os.path.getsize(path) - 100)
        code, out = self.run_on(after=tear)
        self.assertEqual(code, 1, out)
        self.assertIn("not a whole Parquet object", out)

    def test_an_event_without_a_verdict_may_be_stored_or_not(self):
        def forget(system):
            system.journal = [l for l in system.journal if not (l["type"] == "verdict" and l["seq"] in (2, 23))]
        code, out = self.run_on(forget)
        self.assertEqual(code, 0, out)

    def test_an_empty_journal_proves_nothing(self):
        code, _ = self.run_on(lambda system: system.journal.clear())
        self.assertNotEqual(code, 0)


if __name__ == "__main__":
    unittest.main()
