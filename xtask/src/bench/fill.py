"""A SQLite database of about the wanted size: words, numbers and random bytes, with an index.

usage: bench_fill.py PATH MIB
"""
import random
import sqlite3
import sys

r = random.Random(1)
path, target = sys.argv[1], int(sys.argv[2]) << 20
db = sqlite3.connect(path, isolation_level=None)
db.execute("pragma journal_mode=wal")
db.execute("pragma synchronous=off")
db.execute("create table t(id integer primary key, k integer, doc text, raw blob)")
db.execute("create index t_k on t(k)")
words = ["".join(r.choices("etaoinshrdlucm", k=r.randint(2, 10))) for _ in range(8000)]
docs = [" ".join(r.choices(words, k=120)) for _ in range(20000)]
while db.execute("pragma page_count").fetchone()[0] * 4096 < target:
    db.execute("begin")
    rows = ((r.getrandbits(32), f"{r.getrandbits(40)} {r.choice(docs)} {n}", r.randbytes(250)) for n in range(8000))
    db.executemany("insert into t(k, doc, raw) values(?, ?, ?)", rows)
    db.execute("commit")
db.execute("pragma wal_checkpoint(truncate)")
db.close()
