# A database watched each second while it is written, its moments thinned and its layers put together: prints a line of numbers for each
# minute, and at the end the bytes of one full backup of it.
import json, os, sqlite3, subprocess, sys, threading, time

mantis, work, rows, minutes = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
RULES = ["--keep-within", "1min", "--keep-minutely", "60"]
FIRST = 25
db, repo = f"{work}/levels.db", f"{work}/levels-repo"
WRITER = """
import random, sqlite3, sys, time
db = sqlite3.connect(sys.argv[1], timeout=60, isolation_level=None)
db.execute("pragma synchronous = off")
rows, chosen = int(sys.argv[2]), random.Random(7)
while True:
    began = time.perf_counter()
    db.execute("begin immediate")
    for span in (rows // 100, rows):
        key = chosen.randrange(span)
        db.execute("update account set balance = balance + 1 where id = ?", (key,))
        db.execute("insert into entry(account, note) values(?, hex(randomblob(40)))", (key,))
    db.execute("commit")
    time.sleep(max(0.0, 0.02 - (time.perf_counter() - began)))
"""


def run(*arguments):
    ran = subprocess.run([mantis, *arguments, "--repo", repo, "--json"], check=True, capture_output=True, text=True)
    return json.loads(ran.stdout)


def size(folder):
    return sum(os.path.getsize(os.path.join(at, name)) for at, _, names in os.walk(folder) for name in names)


connection = sqlite3.connect(db)
connection.execute("pragma journal_mode = wal")
connection.execute("create table account(id integer primary key, balance integer, name text)")
connection.execute("create table entry(id integer primary key, account integer, note text)")
connection.executemany(
    "insert into account values(?, 1000, ?)",
    ((number, f"{number:08}" + os.urandom(90).hex()) for number in range(rows)),
)
connection.commit()
connection.close()
run("-q", "init")
writer = subprocess.Popen([sys.executable, "-c", WRITER, db, str(rows)])
watch = subprocess.Popen(
    [mantis, "watch", db, "--every", "1s", *RULES, "--repo", repo, "--json"],
    stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
)
made, lock = [], threading.Lock()


def listen():
    for line in watch.stdout:
        event = json.loads(line)
        if event["event"] == "backup":
            with lock:
                made.append(event["backup"])


threading.Thread(target=listen, daemon=True).start()
try:
    written = freed = 0
    for minute in range(1, minutes + 1):
        time.sleep(60)
        pruned = run("prune", "--grace", "0s")
        written += pruned["compacted"]["written_bytes"]
        freed += pruned["freed_bytes"]
        if watch.poll() is not None or writer.poll() is not None:
            sys.exit("the watch or the writer ended")
        with lock:
            ticks = made[1:]
        pages = sum(tick["pages_changed"] * tick["page_size"] for tick in ticks)
        stored = sum(tick["bytes_stored"] for tick in ticks)
        # The first ticks store what changed and nothing else: until the stack is as high as it may be.
        first = ticks[:FIRST]
        alone = sum(tick["bytes_stored"] for tick in first) / sum(tick["pages_changed"] * tick["page_size"] for tick in first)
        print(minute, len(ticks), pages, pages * alone, stored, written, freed, len(run("list")), size(repo), flush=True)
finally:
    writer.kill()
    watch.terminate()
    watch.wait()
run("verify")
print(run("backup", db, "--full")["bytes_stored"])
