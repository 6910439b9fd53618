"""Work in parallel processes whose results come in order, few at a time, and survive a process that dies."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import chain, islice
from multiprocessing import get_context
from typing import TypeVar

from defectory.errors import DefectoryError

Item = TypeVar("Item")
Result = TypeVar("Result")

MOST_DEATHS = 3
"""Times that work is begun anew after its process died."""


class WorkerError(DefectoryError):
    """The process that did a piece of work died again and again."""

    code = "WorkerDied"


def map_in_order(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    workers: int,
    start: Callable[[], None] | None = None,
    on_death: Callable[[Item, WorkerError], Result] | None = None,
) -> Iterator[Result]:
    """``work`` done to each of ``items``; no more than two a worker are under way at a time.

    Args:
        work: a function of a module, which another process can find.
        items: gone through once, as they are needed.
        workers: processes; 1 works in this one, and so does a single item.
        start: called once in each process before its work.
        on_death: gives the result of what kills its process every time; by default that is an error.

    Raises:
        WorkerError: a process died four times at the same piece of work.
    """
    rest = iter(items)
    first = list(islice(rest, 2))
    rest = chain(first, rest)
    if workers == 1 or len(first) < 2:
        if start is not None:
            start()
        yield from map(work, rest)
        return
    pending: deque[tuple[Item, Future[Result]]] = deque()
    deaths = 0
    pool = _pool(workers, start)
    try:
        while True:
            while len(pending) < 2 * workers and (ahead := list(islice(rest, 1))):
                pending.append((ahead[0], _submit(pool, work, ahead[0])))
            if not pending:
                return
            item, future = pending[0]
            try:
                result = future.result()
            except BrokenProcessPool:
                deaths += 1
                pool.shutdown(wait=False)
                pool = _pool(workers, start)
                if deaths > MOST_DEATHS:
                    deaths = 0
                    pending.popleft()
                    error = WorkerError(f"The process at work died {MOST_DEATHS + 1} times: is memory short?")
                    if on_death is None:
                        raise error from None
                    yield on_death(item, error)
                pending = deque((again, _submit(pool, work, again)) for again, _ in pending)
                continue
            deaths = 0
            pending.popleft()
            yield result
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _submit(pool: Executor, work: Callable[[Item], Result], item: Item) -> Future[Result]:
    try:
        return pool.submit(work, item)
    except BrokenProcessPool as error:
        # A process died while another's result was waited for: the item's turn tells, as if it had been taken.
        broken: Future[Result] = Future()
        broken.set_exception(error)
        return broken


def _pool(workers: int, start: Callable[[], None] | None) -> ProcessPoolExecutor:
    # Not a fork: threads of numpy, OpenCV and polars do not survive it.
    return ProcessPoolExecutor(workers, get_context("spawn"), initializer=start)
