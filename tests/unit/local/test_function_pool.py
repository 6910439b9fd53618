"""The pool of functions' processes: how many are started, and for whom one makes room."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from defectory.local.server.functions import Function, _Pool

# What one upload goes through.
LINE = ("start", "inspect", "record", "notify")


class Environment:
    """In the place of a process."""

    def __init__(self) -> None:
        self.alive = True

    def close(self) -> None:
        self.alive = False


def function(name: str) -> Function:
    return Function(f"arn:aws:lambda:us-east-1:123456789012:function:{name}", "digest", {}, b"", "digest")


class Starts:
    """Counts the environments that a pool starts, by function."""

    def __init__(self) -> None:
        self.by_name: Counter[str] = Counter()
        self.lock = threading.Lock()

    def __call__(self, started: Function) -> Environment:
        with self.lock:
            self.by_name[started.arn.rpartition(":")[2]] += 1
        return Environment()


def upload(pool: _Pool) -> None:
    for name in LINE:
        with pool.lease(function(name)):
            pass


def test_fifty_uploads_one_after_another_start_each_function_once() -> None:
    starts = Starts()
    pool = _Pool(starts, invocations=4, environments=16)
    for _ in range(50):
        upload(pool)
    assert starts.by_name == dict.fromkeys(LINE, 1)


def test_fifty_uploads_at_once_start_no_more_than_work_at_once() -> None:
    starts = Starts()
    pool = _Pool(starts, invocations=4, environments=16)
    with ThreadPoolExecutor(20) as threads:
        list(threads.map(lambda _: upload(pool), range(50)))
    assert max(starts.by_name.values()) <= 4


def test_no_more_invocations_at_once_than_allowed() -> None:
    """The third waits, though there would be room for its process."""
    pool = _Pool(Starts(), invocations=2, environments=16)
    begun = threading.Event()

    def third() -> None:
        with pool.lease(function("c")):
            begun.set()

    with ThreadPoolExecutor(1) as threads:
        with pool.lease(function("a")), pool.lease(function("b")):
            waiting = threads.submit(third)
            assert not begun.wait(0.05)
        waiting.result(10)
    assert begun.is_set()


def test_room_is_made_where_there_is_most() -> None:
    """Three processes of one function are idle and one of another: the other keeps its one."""
    starts = Starts()
    pool = _Pool(starts, invocations=4, environments=4)
    with pool.lease(function("single")):
        pass
    with pool.lease(function("many")), pool.lease(function("many")), pool.lease(function("many")):
        pass
    with pool.lease(function("new")):
        pass
    with pool.lease(function("single")):
        pass
    assert starts.by_name == {"single": 1, "many": 3, "new": 1}
