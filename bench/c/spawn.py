"""spawn.py DESCRIPTORS [FILE]: starts programs by subprocess, as spawn.c does."""
import mmap, os, subprocess, sys, threading, time

null = os.open("/dev/null", os.O_RDWR)
while os.open("/dev/null", os.O_RDWR) < int(sys.argv[1]) - 1:
    pass
if len(sys.argv) == 3:
    file = os.open(sys.argv[2], os.O_RDWR)
    big = mmap.mmap(file, 0, flags=mmap.MAP_SHARED | mmap.MAP_POPULATE)
    os.close(file)


def spawner(count, program):
    for _ in range(count):
        subprocess.run([program], stdin=null, stdout=null, stderr=null, check=True)


for line in sys.stdin:
    count, spawners, program = line.split()
    threads = [threading.Thread(target=spawner, args=(int(count), program)) for _ in range(int(spawners) - 1)]
    begin = time.monotonic_ns()
    for thread in threads:
        thread.start()
    spawner(int(count), program)
    for thread in threads:
        thread.join()
    print(time.monotonic_ns() - begin, flush=True)
