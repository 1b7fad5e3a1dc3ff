#!/usr/bin/env python3
"""Asks restic which of some random snapshots its `forget` keeps, under random rules, and writes restic_cases.json.

Run by hand where restic is installed: the answers are kept, so that the tests need no restic.
"""
import json, os, pathlib, random, subprocess, tempfile
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

RULES = ["last", "hourly", "daily", "weekly", "monthly", "yearly"]
SPANS = ["3d", "36h", "1m2d", "2y5m7d3h", "1y", "11m1d"]


def restic(folder, zone, *arguments):
    environment = dict(os.environ, RESTIC_REPOSITORY=f"{folder}/repo", RESTIC_PASSWORD="x", TZ=zone,
                       RESTIC_CACHE_DIR=f"{folder}/cache")
    return subprocess.run(["restic", "--quiet", *arguments], env=environment, check=True, capture_output=True, text=True).stdout


def times(r, zone):
    """Some dense, some years apart, some around the nights when clocks change."""
    zone = ZoneInfo(zone)
    anchors = [datetime(2024, 3, 31), datetime(2024, 10, 27), datetime(2024, 2, 29), datetime(2024, 12, 30), datetime(2025, 3, 9)]
    found = set()
    while len(found) < 60:
        kind = r.randrange(4)
        if kind == 0:
            at = r.choice(anchors) + timedelta(minutes=r.randrange(-600, 1500))
        elif kind == 1:
            at = datetime(2025, 6, 1) + timedelta(hours=r.randrange(96))
        elif kind == 2:
            at = datetime(2025, 4, 1) + timedelta(minutes=r.randrange(80 * 1440))
        else:
            at = datetime(2021, 1, 1) + timedelta(minutes=r.randrange(4 * 365 * 1440))
        # Through UTC and back: a time that the zone leaves out becomes one that it has.
        at = at.replace(second=r.randrange(60), tzinfo=zone).astimezone(ZoneInfo("UTC"))
        found.add(int(at.timestamp()))
    return sorted(found)


def main():
    r, worlds = random.Random(5), []
    for zone in ["UTC", "Europe/Berlin", "America/New_York"]:
        with tempfile.TemporaryDirectory() as folder:
            pathlib.Path(folder, "file").write_text("x")
            restic(folder, zone, "init")
            moments = times(r, zone)
            for moment in moments:
                local = datetime.fromtimestamp(moment, ZoneInfo(zone))
                # In an hour that comes twice, restic takes the first.
                if local.fold or int(local.replace(fold=0).timestamp()) != moment:
                    continue
                restic(folder, zone, "backup", f"{folder}/file", "--host", "h", "--time", local.strftime("%Y-%m-%d %H:%M:%S"))
            listed = json.loads(restic(folder, zone, "snapshots", "--json"))
            stamp = lambda s: int(datetime.fromisoformat(s["time"][:19] + (s["time"][-6:] if s["time"][-1] != "Z" else "+00:00")).timestamp())
            world = {"zone": zone, "times": sorted(map(stamp, listed)), "cases": []}
            for _ in range(60):
                rules = {rule: r.choice([1, 2, 3, 5, 8, 40]) for rule in RULES if r.random() < 0.35}
                if r.random() < 0.3:
                    rules["within"] = r.choice(SPANS)
                if not rules:
                    continue
                flags = [part for rule, value in rules.items() for part in (f"--keep-{rule}", str(value))]
                groups = json.loads(restic(folder, zone, "forget", "--dry-run", "--json", "--group-by", "host", *flags))
                world["cases"].append({"rules": rules, "kept": sorted(stamp(s) for s in groups[0]["keep"])})
            worlds.append(world)
    target = pathlib.Path(__file__).with_name("restic_cases.json")
    target.write_text(json.dumps(worlds, separators=(",", ":")).replace('{"rules"', '\n{"rules"') + "\n")


main()
