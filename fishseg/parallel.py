"""Threads that work ahead, in order and with bounded memory; processes for what threads cannot."""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import cv2

Item = TypeVar("Item")
Result = TypeVar("Result")

# Starting a process takes about a second; fewer items than this are not worth it.
_MIN_ITEMS = 4


def n_cpus() -> int:
    """How many processors this process may use, where the system tells; else all there are."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


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
        workers: the number of threads; `n_cpus` unless told.
        initializer: called by each thread before anything else.
    """
    workers = workers or n_cpus()
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


def process_map(
    function: Callable[[Item], Result], items: Sequence[Item], *, workers: int | None = None
) -> Iterator[Result]:
    """``function`` of each item, in order, by as many processes as there are cores.

    Where ``FISHSEG_RAY`` is set, those are Ray's and their cores may be of many machines.

    Args:
        function: of a module, since it travels to other processes by its name.
        items: what can be pickled.
        workers: processes, if not as many as there are cores; 1 is this process.
    """
    from fishseg import cluster  # noqa: PLC0415 - which counts the cores by this module

    if cluster.asked() and workers is None and len(items) >= _MIN_ITEMS:
        yield from cluster.map_items(function, items)
        return
    workers = min(workers or n_cpus(), len(items))
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
