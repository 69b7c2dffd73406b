"""Proves, without weir's code, that nothing is left of an erased device, or of a person by one of their names:

    python tests/verify/erased.py --data DIR --fleet F [--device D] [--until MICROS] [--kept D=N …] [--silent]

Reads every Parquet object with pyarrow and every SQLite table with sqlite3. With --silent the device has sent
nothing since: then no file but those of the log may hold its name in any byte. --kept says how many rows the raw
store must have of other devices. Prints what is wrong, and exits 1.
"""

import argparse
import json
import os
import re
import sqlite3
import sys
from collections import Counter

import stores


def names(text):
    """The runs of characters that a device's name may have."""
    if isinstance(text, bytes):
        text = text.decode("latin-1")
    return re.findall(r"[A-Za-z0-9._:-]+", text)


def users(original):
    """The ids that an event names its user by."""
    try:
        user = json.loads(original)["user"]
        return [user.get(k) for k in ("id", "anonymous_id", "person")]
    except (ValueError, KeyError, TypeError, AttributeError):
        return []


class Search:
    def __init__(self, args):
        self.args, self.wrong, self.looked = args, [], Counter()

    def named(self, text):
        """A name of other characters than a device's is looked for in every text, as it is or with escapes."""
        name = self.args.device
        if names(name) == [name]:
            return name in names(text)
        if isinstance(text, bytes):
            text = text.decode(errors="replace")
        return name in text or json.dumps(name)[1:-1] in text

    def mine(self, row):
        return row["fleet"] == self.args.fleet and (not self.args.device or row["device_id"] == self.args.device)

    def before(self, row, *columns):
        for column in columns:
            if row.get(column) is not None:
                return row[column] <= self.args.until
        return True

    def raw(self):
        kept = Counter()
        for row in stores.raw_events(f"{self.args.data}/raw", self.wrong):
            self.looked["raw rows"] += 1
            kept[row["device_id"]] += 1
            if self.mine(row) and self.before(row, "received_at"):
                self.wrong.append(f"{row['object']} has event {row['event_id']} of {row['device_id']}")
        for device, n in self.args.kept:
            if kept[device] != n:
                self.wrong.append(f"{kept[device]} rows of {device}, expected {n}")

    def letters(self):
        for row in stores.dead_letters(f"{self.args.data}/dead-letter", self.wrong):
            self.looked["dead letters"] += 1
            about = self.mine(row)
            if row["fleet"] == self.args.fleet and self.args.device and row["device_id"] is None:
                about = self.named(row["original"])
            elif row["fleet"] == self.args.fleet and self.args.device in users(row["original"]):
                about = True
            if about and self.before(row, "received_at", "failed_at"):
                self.wrong.append(f"{row['object']} has dead letter {row['id']}: {row['original'][:100]}")

    def minutes(self):
        """No object of old minutes, published or not, has a window of a silent device."""
        for row in stores.Lake(f"{self.args.data}/rollups/rollup_1m").rows(self.wrong):
            self.looked["old minutes"] += 1
            if self.args.silent and self.mine(row):
                self.wrong.append(f"{row['object']} has minute {row['bucket']} of {row['device_id']}")

    def tables(self):
        """No cell of any table names the device; no row of its fleet is older."""
        for file in ("rollups.db", "control.db"):
            db = sqlite3.connect(f"file:{self.args.data}/{file}?mode=ro", uri=True, timeout=30)
            tables = [t for (t,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            for table in tables:
                cursor = db.execute(f'SELECT * FROM "{table}"')
                columns = [c[0] for c in cursor.description]
                for line in cursor:
                    self.looked["SQL rows"] += 1
                    self.line(f"{file} {table}", dict(zip(columns, line)))
            db.close()

    def line(self, where, row):
        if self.args.silent and self.args.device:
            for column, value in row.items():
                if isinstance(value, (str, bytes)) and self.named(value):
                    self.wrong.append(f"{where}.{column} names {self.args.device}: {str(value)[:200]}")
        whole = self.args.silent and not self.args.device
        if whole and row.get("fleet") == self.args.fleet and "device_id" in row:
            self.wrong.append(f"{where} has a row of the fleet: {str(row)[:200]}")

    def bytes(self):
        """Deleted pages, logs of databases and objects hold nothing either."""
        if not (self.args.silent and self.args.device):
            return
        needle = re.compile(rb"(?<![A-Za-z0-9._:-])" + re.escape(self.args.device.encode()) + rb"(?![A-Za-z0-9._:-])")
        for folder, folders, files in os.walk(self.args.data):
            if os.path.basename(folder) == "broker":
                folders.clear()
                continue
            for name in files:
                path = os.path.join(folder, name)
                try:
                    with open(path, "rb") as f:
                        body = f.read()
                except FileNotFoundError:
                    continue
                self.looked["files"] += 1
                found = needle.search(body)
                if found:
                    self.wrong.append(f"{path} holds the name at byte {found.start()}: {body[max(found.start() - 40, 0) : found.end() + 40]}")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data", required=True)
    p.add_argument("--fleet", required=True)
    p.add_argument("--device")
    p.add_argument("--until", type=int, required=True, help="microseconds since 1970")
    p.add_argument("--silent", action="store_true")
    p.add_argument("--kept", action="append", default=[], type=lambda s: (s.rsplit("=", 1)[0], int(s.rsplit("=", 1)[1])))
    args = p.parse_args()
    search = Search(args)
    for look in (search.raw, search.letters, search.minutes, search.tables, search.bytes):
        look()
    print(f"{args.device or args.fleet}: looked at " + ", ".join(f"{n} {what}" for what, n in search.looked.items()))
    shown = Counter()
    for problem in search.wrong:
        kind = next((k for k in ("has event", "has dead letter", "has minute", "holds the name") if k in problem), problem.split(" names ")[0])
        shown[kind] += 1
        if shown[kind] <= 2:
            print("WRONG", problem)
    if not search.looked["raw rows"] or not search.looked["SQL rows"]:
        sys.exit("there was nothing to look at")
    sys.exit(1 if search.wrong else 0)


if __name__ == "__main__":
    main()
