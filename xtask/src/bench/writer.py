"""A writer without a pause: five random updates a transaction, WAL, synchronous=NORMAL.

usage: writer.py PATH SECONDS     prints transactions a second, p50, p99 and max in ms, and the longest WAL in MiB
"""
import os
import random
import sqlite3
import sys
import time

path, seconds = sys.argv[1], float(sys.argv[2])
db = sqlite3.connect(path, timeout=60, isolation_level=None)
db.execute("pragma synchronous=normal")
rows = db.execute("select max(id) from t").fetchone()[0]
r, times, wal, end = random.Random(3), [], 0, time.time() + seconds
while time.time() < end:
    start = time.perf_counter()
    db.execute("begin immediate")
    for _ in range(5):
        db.execute("update t set k=? where id=?", (r.getrandbits(32), r.randint(1, rows)))
    db.execute("commit")
    times.append(time.perf_counter() - start)
    if len(times) % 100 == 0:
        wal = max(wal, os.path.getsize(path + "-wal"))
times.sort()
at = lambda share: times[min(len(times) - 1, int(len(times) * share))] * 1000
print(f"{len(times) / seconds:.0f} {at(.5):.3f} {at(.99):.3f} {times[-1] * 1000:.1f} {wal >> 20}")
