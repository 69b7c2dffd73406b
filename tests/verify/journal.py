"""What the journals of `weir fleet` say was sent, and what became of it."""

import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone

MICROSECOND = timedelta(microseconds=1)
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def micros(text):
    """Microseconds since 1970 of an RFC 3339 time, exactly."""
    t = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return (t - EPOCH) // MICROSECOND


@dataclass
class Event:
    """One event: all sendings that share its bytes."""

    raw: str
    kinds: set = field(default_factory=set)
    verdicts: list = field(default_factory=list)  # (verdict, code)
    sendings: set = field(default_factory=set)  # (seq, attempt) without a verdict yet
    times: int = 0  # it was sent, in all
    first_sent: int = 0
    last_seen: int = 0  # the last verdict; 0 means that one is missing

    @property
    def state(self):
        """accepted: must be stored; rejected: must be a dead letter; maybe:
        either or neither; refused: must be nowhere."""
        got = {v for v, _ in self.verdicts}
        if "accepted" in got:
            return "accepted"
        if "rejected" in got:
            return "rejected"
        return "maybe" if "unknown" in got or self.sendings else "refused"

    @property
    def codes(self):
        return {code for verdict, code in self.verdicts if verdict == "rejected"}

    @property
    def malformed(self):
        return "malformed" in self.kinds


class Journal:
    """events: by bytes; sent: how many event sendings there were."""

    def __init__(self, paths):
        self.events = {}
        self.sent = 0
        self.complete = True
        for path in paths:
            self._read(path)

    def _read(self, path):
        by_seq = {}
        ended = False
        with open(path, encoding="utf-8", newline="\n") as lines:
            for number, line in enumerate(lines, 1):
                if not line.endswith("\n"):
                    break  # the simulator died while it wrote this line: what it tells was not sent
                try:
                    entry = json.loads(line)
                except ValueError as e:
                    raise SystemExit(f"{path}: line {number}: {e}")
                kind = entry["type"]
                if kind == "sent":
                    # The event is the last member: cut it out as it was sent.
                    raw = line[line.index(',"event":') + 9 : -2]
                    event = self.events.setdefault(raw, Event(raw))
                    event.kinds.add(entry["kind"])
                    event.times += 1
                    event.sendings.add((path, entry["seq"], entry["attempt"]))
                    at = micros(entry["at"])
                    event.first_sent = min(event.first_sent or at, at)
                    by_seq[entry["seq"]] = event
                    self.sent += 1
                elif kind == "verdict":
                    event = by_seq[entry["seq"]]
                    event.sendings.discard((path, entry["seq"], entry["attempt"]))
                    event.verdicts.append((entry["verdict"], entry["code"]))
                    event.last_seen = max(event.last_seen, micros(entry["at"]))
                elif kind == "end":
                    ended = True
        self.complete &= ended
