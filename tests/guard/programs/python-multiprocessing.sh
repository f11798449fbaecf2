cat >job.py <<'P'
import multiprocessing as m

def square(x):
    return x * x

if __name__ == "__main__":
    for way in "fork", "spawn", "forkserver":
        c = m.get_context(way)
        with c.Pool(2) as pool:
            assert pool.map(square, range(10)) == [x * x for x in range(10)]
        q = c.Queue()
        p = c.Process(target=q.put, args=(42,))
        p.start()
        assert q.get() == 42
        p.join()
    print("said")
P
"$@" /usr/bin/python3 job.py
