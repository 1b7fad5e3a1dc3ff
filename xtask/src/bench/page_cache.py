"""Makes the first quarter of a file hot, runs a command, counts which of its pages are in the page cache."""

import ctypes, mmap, os, subprocess, sys, time

path, command = sys.argv[1:]
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
libc.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
length = os.path.getsize(path)
quarter = length // 4 // mmap.PAGESIZE
file = os.open(path, os.O_RDONLY)


def resident():
    """Whether each page is in the cache, as bytes."""
    at = libc.mmap(None, length, 0, mmap.MAP_SHARED, file, 0)
    pages = ctypes.create_string_buffer(-(-length // mmap.PAGESIZE))
    assert libc.mincore(at, length, pages) == 0
    libc.munmap(at, length)
    return bytes(page & 1 for page in pages.raw[: -(-length // mmap.PAGESIZE)])


os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
os.posix_fadvise(file, 0, 0, os.POSIX_FADV_RANDOM)
for _ in range(2):
    for start in range(0, quarter * mmap.PAGESIZE, 1 << 20):
        os.pread(file, min(1 << 20, quarter * mmap.PAGESIZE - start), start)
before = resident()
began = time.monotonic()
subprocess.run(["bash", "-c", command], check=True, stdout=subprocess.DEVNULL)
seconds = time.monotonic() - began
after = resident()
hot = sum(1 for was, now in zip(before, after) if was and now) / max(1, sum(before))
cold = sum(1 for was, now in zip(before, after) if not was and now)
print(f"{hot:.1%} {cold * mmap.PAGESIZE >> 20}MiB {seconds:.2f}")
