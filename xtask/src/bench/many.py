# Many databases watched by one command, into a repository whose objects are in a folder: prints seconds until each had its first backup, the segments of those, cores' share and MiB while
# nothing is committed, objects of the store that changed meanwhile, and seconds until commits to some of them were in backups.
import json, os, sqlite3, subprocess, sys, threading, time

mantis, work, repo, folder = sys.argv[1:5]
count, every, busy = map(int, sys.argv[5:])
IDLE = 60


def database(number):
    return f"{work}/many/{number // 100}/{number}.db"


def write(number, row):
    db = sqlite3.connect(database(number))
    db.execute("pragma journal_mode = wal")
    db.execute("create table if not exists t(id integer primary key, doc text)")
    for _ in range(row):
        db.execute("insert into t(doc) values(hex(randomblob(200)))")
    db.commit()
    db.close()


def objects():
    found = {}
    for inner, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(inner, name)
            found[path] = os.stat(path).st_mtime_ns
    return found


def ticks(process):
    fields = open(f"/proc/{process}/stat").read().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def memory(process):
    for line in open(f"/proc/{process}/status"):
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024


for number in range(count):
    os.makedirs(os.path.dirname(database(number)), exist_ok=True)
    write(number, 100)
subprocess.run([mantis, "-q", "init", "--repo", repo], check=True, stdout=subprocess.DEVNULL)
watch = subprocess.Popen(
    [mantis, "watch", f"{work}/many/**/*.db", "--every", f"{every}s", "--repo", repo, "--json"],
    stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
)
made, failed, lock = [], [], threading.Lock()


def listen():
    for line in watch.stdout:
        event = json.loads(line)
        with lock:
            if event["event"] == "backup":
                made.append(event["backup"]["source"])
            elif event["event"] == "failed":
                failed.append(event)


threading.Thread(target=listen, daemon=True).start()


def until(wanted, since):
    while True:
        with lock:
            if len(set(made[since:])) >= wanted:
                return
        if watch.poll() is not None:
            sys.exit("the watch ended")
        time.sleep(0.05)


try:
    start = time.perf_counter()
    until(count, 0)
    first = time.perf_counter() - start
    # What was read to begin with is let go of.
    time.sleep(2 * every)
    before, used, since = objects(), ticks(watch.pid), time.perf_counter()
    segments = sum("/seg/" in path for path in before)
    time.sleep(IDLE)
    share = (ticks(watch.pid) - used) / os.sysconf("SC_CLK_TCK") / (time.perf_counter() - since)
    resident, changed = memory(watch.pid), len(set(before.items()) ^ set(objects().items()))
    with lock:
        seen = len(made)
    start = time.perf_counter()
    for number in range(0, count, max(1, count // busy)):
        write(number, 1)
    until(len(range(0, count, max(1, count // busy))), seen)
    then = time.perf_counter() - start
    print(first, segments, share, resident, changed, then, len(failed))
finally:
    watch.terminate()
    watch.wait()
