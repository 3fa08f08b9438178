"""Work spread over processes, each with one thread."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import cv2

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Item = TypeVar("Item")
Result = TypeVar("Result")

# Starting a process takes about a second; fewer items than this are not worth it.
_MIN_ITEMS = 4


def process_map(
    function: Callable[[Item], Result], items: Sequence[Item], *, workers: int | None = None
) -> Iterator[Result]:
    """``function`` of each item, in order, by as many processes as there are cores.

    Args:
        function: of a module, since it travels to other processes by its name.
        items: what can be pickled.
        workers: processes, if not as many as there are cores; 1 is this process.
    """
    workers = min(workers or os.cpu_count() or 1, len(items))
    if workers <= 1 or len(items) < _MIN_ITEMS:
        yield from map(function, items)
        return
    # A forked process would inherit the locks of OpenCV's threads, but not the threads.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        try:
            yield from pool.map(function, items)
        finally:
            pool.shutdown(cancel_futures=True)


@contextmanager
def single_threaded() -> Iterator[None]:
    """One thread for OpenCV: the processes are many, and the bits stay the same."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)
