"""Changes rows at random places until about FRACTION of the pages differ.

usage: mutate.py PATH FRACTION                  and checkpoints
       mutate.py PATH hold                      keeps the database open, without checkpoints, and changes FRACTION for
                                                every line with one; says so when it is committed
"""
import random
import sqlite3
import sys

path = sys.argv[1]
r = random.Random(5)
db = sqlite3.connect(path, isolation_level=None)
pages = db.execute("pragma page_count").fetchone()[0]
rows = db.execute("select max(id) from t").fetchone()[0]


def change(fraction):
    db.execute("begin")
    for row in r.sample(range(1, rows + 1), min(rows, int(pages * fraction))):
        db.execute("update t set raw=? where id=?", (r.randbytes(250), row))
    db.execute("commit")


if sys.argv[2] == "hold":
    db.execute("pragma wal_autocheckpoint=0")
    for line in sys.stdin:
        change(float(line))
        print("committed", flush=True)
    sys.exit()
change(float(sys.argv[2]))
db.execute("pragma wal_checkpoint(truncate)")
db.close()
