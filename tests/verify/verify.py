"""Proves from the journals of `weir fleet` what weir must hold, without weir's code:

    python tests/verify/verify.py --data DIR --journal FILE [--journal FILE…] --wait 60

Every accepted event is in the raw store, once and as sent; every rejected one is
in the dead letters with its reason; the rollups equal a recomputation. Prints a
table, names each difference, and exits 1 when there is one. With --wait it looks
again until the system has drained or the time is over.
"""

import argparse
import os
import sys
import time

import checks
import stores
from journal import Journal


def examine(journal, args):
    problems = []
    objects = checks.Check("objects are whole")
    raw = stores.raw_events(args.raw, problems)
    report, kept, records = checks.stored(journal, raw, args.fleet, args.claims_lost, args.owners_changed)
    report += checks.dead(journal, stores.dead_letters(args.dead_letters, problems), args.fleet, args.owners_changed)
    windows = {r: checks.recompute(journal, kept, seconds) for r, seconds in checks.SECONDS.items()}
    for resolution in args.resolutions.split(","):
        lines = stores.rollups(args.rollups, resolution, args.fleet)
        report.append(checks.rolled_up(f"rollup_{resolution} in SQL", windows[resolution], lines))
    objects.differences = problems
    objects.found = objects.expected = sum(1 for url in (args.raw, args.dead_letters) for _ in stores.Lake(url).objects())
    report.append(objects)
    if args.api and not any(check.differences for check in report):  # there is no point in asking before
        report += ask(args, windows)
        report.append(checks.asked(records, stores.queried_events(args.api, os.environ["WEIR_KEY"], kept)))
    return report


def ask(args, windows):
    """The same rollups, and those of the whole fleet, from the query API."""
    for resolution, expected in windows.items():
        devices = sorted({device for device, _, _ in expected})
        if not devices:
            continue
        first = min(bucket for _, _, bucket in expected)
        last = max(bucket for _, _, bucket in expected) + checks.SECONDS[resolution]
        lines = stores.queried(args.api, os.environ["WEIR_KEY"], resolution, devices, first, last)
        yield checks.rolled_up(f"queried at {resolution}", expected, lines)
        lines = stores.queried(args.api, os.environ["WEIR_KEY"], resolution, [], first, last)
        yield checks.rolled_up(f"queried at {resolution}, fleet merged", checks.merged(expected), lines)


def show(journal, report, limit):
    states = {}
    for event in journal.events.values():
        states[event.state] = states.get(event.state, 0) + 1
    told = ", ".join(f"{n} {state}" for state, n in sorted(states.items()))
    ended = "" if journal.complete else " (a journal has no end: its simulator was killed)"
    print(f"{journal.sent} sendings of {len(journal.events)} events: {told}{ended}\n")
    print(f"{'':40}{'expected':>10}{'found':>10}{'differ':>10}")
    for check in report:
        print(f"{check.name:40}{check.expected:>10}{check.found:>10}{len(check.differences):>10}  {check.note}")
    for check in report:
        for difference in check.differences[:limit]:
            print(f"\n{check.name}: {difference}")
        if len(check.differences) > limit:
            print(f"\n{check.name}: and {len(check.differences) - limit} more")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data", help="the data directory of `weir up`")
    p.add_argument("--raw", help="URL of the raw store, instead of the one in --data")
    p.add_argument("--dead-letters", help="URL of the dead-letter store")
    p.add_argument("--rollups", help="URL of the rollup store")
    p.add_argument("--journal", action="append", required=True)
    p.add_argument("--fleet", required=True)
    p.add_argument("--resolutions", default="1m", help="of the SQL views; hours and days follow the minutes later")
    p.add_argument("--api", help="URL of the query API, to be asked too, with the key in WEIR_KEY")
    p.add_argument("--claims-lost", action="store_true", help="the dedupe store was down for a while")
    p.add_argument("--owners-changed", action="store_true", help="consumers joined or left while there was work")
    p.add_argument("--wait", type=float, default=0, help="seconds")
    p.add_argument("--limit", type=int, default=5, help="differences to name of each check")
    args = p.parse_args()
    if args.data:
        args.raw = args.raw or f"{args.data}/raw"
        args.dead_letters = args.dead_letters or f"{args.data}/dead-letter"
        args.rollups = args.rollups or f"sqlite://{args.data}/rollups.db"
    if not (args.raw and args.dead_letters and args.rollups):
        p.error("--data, or --raw with --dead-letters and --rollups, is required")

    journal = Journal(args.journal)
    if not journal.events:
        sys.exit("the journals hold no event: there is nothing to prove")
    deadline = time.monotonic() + args.wait
    unread = 0  # times in a row
    while True:
        began = time.monotonic()
        try:
            report = examine(journal, args)
            wrong, unread = any(check.differences for check in report), 0
        except stores.Changed as e:  # which says nothing yet, on a slow machine even at the deadline
            report, wrong, unread = None, f"{e} went away while it was read", unread + 1
        if not wrong or time.monotonic() >= deadline and not 0 < unread < 3:
            break
        time.sleep(max(1, time.monotonic() - began))
    if report is None:
        sys.exit(str(wrong))
    show(journal, report, args.limit)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
