"""Threads that work ahead, in order and with bounded memory."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def ordered_map(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    ahead: int | None = None,
    workers: int | None = None,
    initializer: Callable[[], object] = lambda: None,
) -> Iterator[Result]:
    """``function`` of each item, in order, computed by threads at most ``ahead`` items early.

    Unlike `Executor.map`, which starts on all items at once, memory does not grow with their
    number. Threads suffice where the work is decoding and resizing: Pillow and OpenCV release the
    interpreter's lock. Closing the iterator early cancels what has not begun.

    Args:
        function: of an item.
        items: taken by the calling thread.
        ahead: how many results may wait; twice the number of threads unless told.
        workers: the number of threads; that of the processors unless told.
        initializer: called by each thread before anything else.
    """
    workers = workers or os.cpu_count() or 1
    window = ahead if ahead is not None else 2 * workers
    pending: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(workers, initializer=initializer) as pool:
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) > window:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
