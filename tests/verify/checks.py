"""The promises, each as a check that names what breaks it."""

import json
import math
from collections import Counter

from journal import micros

# What each schema version knows: only these are rolled up. Written down here a
# second time, on purpose.
KNOWN = {
    "1": {"cpu_temp", "battery_voltage", "vibration"},
    "2": {"cpu_temp", "battery_voltage", "vibration", "pressure", "humidity"},
    "3": {"cpu_temp", "battery_voltage", "vibration", "pressure", "humidity", "flow_rate"},
}
AHEAD = 5 * 60 * 1_000_000  # stamped further ahead counts at the time received
LATE = 10 * 60 * 1_000_000
SKEW = 1_000_000  # between the clock of the journal and of the gate
SECONDS = {"1m": 60, "1h": 3600, "1d": 86400}


class Check:
    """One line of the report: what was expected, what was found, what differs."""

    def __init__(self, name):
        self.name, self.expected, self.found, self.differences, self.note = name, 0, 0, [], ""

    def differ(self, text):
        self.differences.append(text)


def event_ids(journal):
    """event_id → Event, for those that are events at all."""
    return {json.loads(e.raw)["event_id"].replace("-", "").lower(): e for e in journal.events.values() if not e.malformed}


def stored(journal, rows, fleet, claims_lost, owners_changed=False):
    """Every accepted event is in the raw store, once and as sent; nothing is there that was not sent.

    While the dedupe store is down, events that were sent twice may be stored
    twice, as two records of the log: with claims_lost that is only noted. Two
    owners of a partition can each store a record, of which readers see one until
    compaction removes the other: with owners_changed that is only noted.

    Also returns the row of each event that is counted, and of how many records
    it is stored."""
    present, once, same = Check("accepted events in the raw store"), Check("stored once"), Check("stored as sent")
    ids = event_ids(journal)
    seen, kept = {}, {}
    foreign = 0
    for row in rows:
        if row["fleet"] != fleet:
            foreign += 1
            continue
        record = (row["topic"], row["partition"], row["offset"])
        seen.setdefault(row["event_id"], Counter())[record] += 1
        if record == min(seen[row["event_id"]]):  # the first is the one that is counted
            kept[row["event_id"]] = row
    for event_id, event in ids.items():
        if event.state == "accepted":
            present.expected += 1
            present.found += event_id in kept
            if event_id not in kept:
                present.differ(f"event {event_id} was accepted and is not stored: {event.raw[:200]}")
        elif event_id in kept and event.state in ("rejected", "refused"):
            present.differ(f"event {event_id} was {event.state} and is stored in {kept[event_id]['object']}")
    for event_id, row in kept.items():
        if event_id not in ids:
            present.differ(f"event {event_id} is stored in {row['object']} and was never sent")
            continue
        same.expected += 1
        problem = differs(ids[event_id], row)
        if problem:
            same.differ(f"event {event_id}: {problem}")
        else:
            same.found += 1
    once.expected, once.found = len(seen), sum(sum(records.values()) for records in seen.values())
    unclaimed = repeated = 0
    for event_id, records in seen.items():
        for record, n in records.items():
            if n > 1 and owners_changed:
                repeated += n - 1
            elif n > 1:
                once.differ(f"event {event_id} is stored {n} times, of record {record}")
        if len(records) > 1 and claims_lost and event_id in ids and len(records) <= ids[event_id].times:
            unclaimed += len(records) - 1
        elif len(records) > 1:
            once.differ(f"event {event_id} is stored {len(records)} times, of records {sorted(records)}")
    notes = {"duplicates while the claims were lost": unclaimed, "rows of two owners, for readers to skip": repeated}
    once.note = ", ".join(f"{n} {what}" for what, n in notes.items() if n)
    present.note = f"{foreign} of other fleets" if foreign else ""
    return [present, once, same], kept, {event_id: len(records) for event_id, records in seen.items()}


def differs(event, row):
    sent = json.loads(event.raw)
    extra = {k: v for k, v in sent.items() if k not in FIELDS}
    received = row["received_at"]
    if received is None:
        return "it has no received_at"
    if not event.first_sent - SKEW <= received:
        return f"received_at {received} is before it was sent, {event.first_sent}"
    if event.last_seen and not event.sendings and received > event.last_seen + SKEW:
        return f"received_at {received} is after its last verdict, {event.last_seen}"
    stamp = micros(sent["timestamp"])
    flags = set(filter(None, (row["flags"] or "").split(",")))
    expected_flags = {"clock_ahead"} if stamp > received + AHEAD else {"late"} if stamp < received - LATE else set()
    pairs = {
        "device_id": (sent["device_id"], row["device_id"]),
        "firmware": (sent["device_firmware_version"], row["firmware"]),
        "timestamp": (stamp, row["timestamp"]),
        "metrics": ({k: float(v) for k, v in sent["metrics"].items()}, row["metrics"]),
        "diagnostics": (sent.get("diagnostics"), json.loads(row["diagnostics"]) if row["diagnostics"] else None),
        "unknown fields": (extra, json.loads(row["extra"]) if row["extra"] else {}),
        "flags": (expected_flags, flags),
        "schema": ("telemetry/" + sent["device_firmware_version"].split(".")[0], row["schema"]),
    }
    for name, (want, got) in pairs.items():
        if want != got:
            return f"{name} was {want!r}, is stored as {got!r}"
    return None


FIELDS = {"event_id", "device_id", "device_firmware_version", "timestamp", "metrics", "diagnostics"}


def dead(journal, letters, fleet, owners_changed=False):
    """Every rejected event is in the dead letters with its code and its bytes.

    As with events, two owners can each store a letter, under one id."""
    present, once = Check("rejected events in the dead letters"), Check("dead letters once")
    found, ids, repeated = {}, set(), 0
    for letter in letters:
        if letter["fleet"] != fleet:
            continue
        if owners_changed and letter["id"] in ids:
            repeated += 1
            continue
        ids.add(letter.get("id"))
        found.setdefault(letter["original"], []).append(letter["code"])
    once.note = f"{repeated} rows of two owners, for readers to skip" if repeated else ""
    for raw, event in journal.events.items():
        codes = found.get(raw, [])
        if event.state == "rejected":
            present.expected += 1
            if not codes:
                present.differ(f"rejected as {event.codes} and not in the dead letters: {raw[:200]}")
            elif not set(codes) <= event.codes:
                present.differ(f"rejected as {event.codes}, in the dead letters as {codes}: {raw[:200]}")
            else:
                present.found += 1
        elif codes and event.state != "maybe":
            present.differ(f"{event.state}, yet in the dead letters as {codes}: {raw[:200]}")
        if codes:
            rejections = sum(v == "rejected" for v, _ in event.verdicts)
            attempts = rejections + sum(v == "unknown" for v, _ in event.verdicts) + len(event.sendings)
            once.expected += 1
            once.found += len(codes)
            if len(codes) > max(attempts, 1):
                once.differ(f"{len(codes)} times in the dead letters, rejected {rejections} times: {raw[:200]}")
    for raw, codes in found.items():
        if raw not in journal.events:
            present.differ(f"in the dead letters as {codes} and never sent: {raw[:200]}")
    return [present, once]


def asked(records, answers):
    """The query API gives each event as often as it is a record, and no other."""
    check = Check("events queried")
    check.expected, check.found = sum(records.values()), sum(answers.values())
    for event_id in records.keys() | answers.keys():
        want, got = records.get(event_id, 0), answers.get(event_id, 0)
        if want != got:
            check.differ(f"event {event_id}: the API gives it {got} times, it is stored of {want} records")
    return check


def recompute(journal, kept, seconds):
    """The windows that the stored events of the journal make: each event once."""
    windows = {}
    for event_id, event in event_ids(journal).items():
        row = kept.get(event_id)
        if row is None or event.state not in ("accepted", "maybe"):
            continue
        sent = json.loads(event.raw)
        at = micros(sent["timestamp"])
        if at > row["received_at"] + AHEAD:
            at = row["received_at"]
        bucket = at // 1_000_000 // seconds * seconds
        known = KNOWN[sent["device_firmware_version"].split(".")[0]]
        for metric, value in sent["metrics"].items():
            if metric in known:
                windows.setdefault((sent["device_id"], metric, bucket), []).append(float(value))
    return windows


def percentile_disc(ordered, q):
    return ordered[max(math.ceil(q * len(ordered)) - 1, 0)]


def merged(windows):
    """The windows of the fleet as a whole."""
    fleet = {}
    for (_, metric, bucket), values in windows.items():
        fleet.setdefault(("*", metric, bucket), []).extend(values)
    return fleet


def rolled_up(name, windows, lines):
    """The rollups equal the recomputation: exactly, the percentiles within 1 %."""
    check = Check(name)
    check.expected = len(windows)
    for key, values in windows.items():
        if key not in lines:
            check.differ(f"{key}: no line for {len(values)} readings")
            continue
        values.sort()
        count, total, low, high, avg, p50, p95 = lines[key]
        want = {
            "count": (len(values), count, 0),
            "sum": (math.fsum(values), total, 1e-12),
            "min": (values[0], low, 0),
            "max": (values[-1], high, 0),
            "avg": (math.fsum(values) / len(values), avg, 1e-12),
            "p50": (percentile_disc(values, 0.5), p50, 0.01),
            "p95": (percentile_disc(values, 0.95), p95, 0.01),
        }
        wrong = [
            f"{name} {got!r}, expected {exact!r}"
            for name, (exact, got, tolerance) in want.items()
            if got is None or abs(got - exact) > tolerance * abs(exact) * (1 + 1e-9)
        ]
        if wrong:
            check.differ(f"{key}: " + "; ".join(wrong))
        else:
            check.found += 1
    for key in lines.keys() - windows.keys():
        check.differ(f"{key}: a line of {lines[key][0]} readings that no stored event has")
    return check
