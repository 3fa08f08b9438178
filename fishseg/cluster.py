"""More workers than this process: those of Ray, where ``FISHSEG_RAY`` asks for them.

``local`` starts Ray on this machine for as long as the process lives, ``auto`` joins the cluster
that this machine is a part of, and an address (``10.0.0.1:6379``) the one that answers there.
Without the variable nothing of Ray is imported. Workers need the same fishseg, and see the
project's folder and the store under the same path as the process that asks them.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import logging
import math
import os
import pickle
import platform
import threading
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias, TypeVar

from fishseg.errors import FishsegError, ParameterError
from fishseg.parallel import n_cpus

Item = TypeVar("Item")
Result = TypeVar("Result")

log = logging.getLogger(__name__)

Each: TypeAlias = Literal["core", "node", "gpu", "device"]

VARIABLE = "FISHSEG_RAY"
# GPUs of a worker: 0.5 puts two on one.
SHARE = "FISHSEG_RAY_GPUS"
# Items travel in parts: enough of them that no worker waits long for the last one, and none so
# large that a node that dies takes much with it.
_PARTS_A_WORKER, _LARGEST_PART = 8, 32
# Of a part whose worker died. Nodes come and go; what kills each worker that touches it stays.
_RETRIES = 3
_OBJECT_STORE_BYTES = 100 * 2**20  # little passes through it: what is large lies in our store
# Ray's own: no reports to its makers, no chatter on the terminal.
_QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal"}
# Of a Ray on this machine alone: whatever the system, all ports are bound to the loopback; workers
# are as nice as the process that asks them, no more.
_HERE = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_worker_niceness": "0"}


def asked() -> bool:
    """Whether the environment asks for Ray."""
    return bool(os.environ.get(VARIABLE))


def spread(
    load: Callable[[], Callable[[list[Item]], Iterable[Result]]],
    items: Sequence[Item],
    *,
    each: Each,
    at_once: int = 1,
) -> Iterator[Result]:
    """What Ray's workers make of items, in order.

    A part whose worker or node dies is done again by another one: work that is kept in the store
    piece by piece, and looked for there first, loses nothing.

    Args:
        load: called once by each worker, for the function that makes results of some items, as
            many as it gets. It travels there, so it and the items must be such as pickle takes.
        items: in any number.
        each: what a worker has to itself: a core, the cores of a node (the smallest node's, where
            they differ), a GPU (or as much of one as ``FISHSEG_RAY_GPUS`` says) with its share of
            the cores, or a device: a GPU where any node has one and ``FISHSEG_DEVICE`` is not
            ``cpu``, else a node.
        at_once: how many threads of a worker call the function.

    Raises:
        FishsegError: there is no Ray, it cannot be reached, has no room, or gives up. What a
            worker raises is raised here; what another machine had to say names that machine.
    """
    if not items:
        return
    ray = _connected()
    nodes = _alive(ray)
    if each == "device":
        no_gpu = os.environ.get("FISHSEG_DEVICE") == "cpu" or not any("GPU" in n for n in nodes)
        each = "node" if no_gpu else "gpu"
    parts = _parts(items, _room(nodes, each).workers)
    waiting: dict[int, list[Result]] = {}
    n_given = n_lost = 0
    while n_given < len(parts):
        missing = [n for n in range(n_given, len(parts)) if n not in waiting]
        try:
            for number, answer in _answers(
                ray, load, {n: parts[n] for n in missing}, each=each, at_once=at_once
            ):
                waiting[number] = answer
                while n_given in waiting:
                    yield from waiting.pop(n_given)
                    n_given += 1
        except ray.exceptions.RayError as error:
            n_lost += 1
            if n_lost > _RETRIES:
                raise FishsegError(
                    f"the workers of Ray died: {_last_line(error)}",
                    where=f"{VARIABLE}={os.environ[VARIABLE]}",
                    remedy="see whether they have enough memory and the same fishseg installed; "
                    "then run the same command again: what is finished is kept",
                ) from error
            # Ray Data ends a run when a node goes at the wrong moment; what it answered is here.
            log.warning("a worker of Ray was lost; what it had not finished is done again")


def _answers(
    ray: Any,
    load: Callable[[], Callable[[list[Item]], Iterable[Result]]],
    parts: Mapping[int, list[Item]],
    *,
    each: Each,
    at_once: int,
) -> Iterator[tuple[int, list[Result]]]:
    """The number of each part and its results, in any order.

    Raises:
        FishsegError: what a worker raised.
        RayError: of Ray: workers were lost, and it gives up.
    """
    room = _room(_alive(ray), each)
    rows = [{"number": number, "items": pickle.dumps(part)} for number, part in parts.items()]
    with warnings.catch_warnings():
        # Of `max_task_retries`: until 2.64 there is no other way to say it.
        warnings.simplefilter("ignore", DeprecationWarning)
        dataset = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
            _Worker,
            fn_constructor_args=(load, os.getcwd(), _environment(each)),  # noqa: PTH109
            batch_size=None,
            batch_format="pyarrow",
            num_cpus=room.cpus,
            num_gpus=room.gpus,
            max_task_retries=_RETRIES,
            compute=ray.data.ActorPoolStrategy(
                min_size=1,
                max_size=min(room.workers, len(rows)),
                initial_size=min(room.workers, len(rows)),
                max_tasks_in_flight_per_actor=at_once + 1,
                max_concurrent_calls_per_actor=at_once,
                enable_true_multi_threading=at_once > 1,
            ),
        )
    for row in dataset.iter_rows():
        answer = _unpickled(row["answer"])
        if isinstance(answer, _Failure):
            raise answer.explained()
        yield row["number"], answer


def map_items(function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    """``function`` of each item, in order, by a worker on each core; see `spread`."""
    return spread(functools.partial(_over_items, function), items, each="core")


def _over_items(function: Callable[[Item], Result]) -> Callable[[list[Item]], Iterable[Result]]:
    return functools.partial(map, function)


@functools.cache  # once a process
def _connected() -> Any:
    """Ray, started or joined."""
    address = os.environ[VARIABLE]
    here = {"num_cpus": n_cpus(), "object_store_memory": _OBJECT_STORE_BYTES}
    for name, value in {**_QUIET, **(_HERE if address == "local" else {})}.items():
        os.environ.setdefault(name, value)
    try:
        ray = importlib.import_module("ray")
        importlib.import_module("ray.data")
    except ModuleNotFoundError as error:
        raise FishsegError(
            f"{error.name} is not installed",
            where=f"{VARIABLE}={address}",
            remedy="pip install '.[ray]' in a copy of the repository, or unset "
            f"{VARIABLE} to compute without Ray",
        ) from None
    for name in ("ray", "ray.data"):  # of which the second sets up itself
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        if not ray.is_initialized():
            ray.init(
                address=address,
                include_dashboard=False if address == "local" else None,
                logging_level=logging.WARNING,
                log_to_driver=False,
                **(here if address == "local" else {}),
            )
    except Exception as error:  # it raises bare ones
        raise FishsegError(
            f"Ray cannot be started: {_last_line(error)}"
            if address == "local"
            else f"no cluster of Ray answers: {_last_line(error)}",
            where=f"{VARIABLE}={address}",
            expected="local, auto or the address of a cluster, such as 10.0.0.1:6379",
            remedy="on a busy machine, run it again; `ray start --head` starts a cluster",
        ) from error
    ray.data.DataContext.get_current().enable_progress_bars = False
    return ray


def _alive(ray: Any) -> list[Mapping[str, float]]:
    """What each node of the cluster has."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


class _Room(NamedTuple):
    """How many workers there is room for, and what each of them gets."""

    workers: int
    cpus: int
    gpus: float


def _room(nodes: Sequence[Mapping[str, float]], each: str) -> _Room:
    if each == "gpu":
        share = _share()
        fit = [(int(node.get("GPU", 0) / share), int(node.get("CPU", 0))) for node in nodes]
        fit = [(workers, cpus) for workers, cpus in fit if workers and cpus]
        room = _Room(
            workers=sum(workers for workers, _ in fit),
            cpus=max(1, min((cpus // workers for workers, cpus in fit), default=1)),
            gpus=share,
        )
    else:
        cpus = [int(node.get("CPU", 0)) for node in nodes if node.get("CPU", 0) >= 1]
        wanted = 1 if each == "core" else min(cpus, default=1)
        room = _Room(workers=sum(count // wanted for count in cpus), cpus=wanted, gpus=0)
    if not room.workers:
        raise FishsegError(
            f"no machine of Ray's has a {'GPU' if each == 'gpu' else 'core'} to give",
            where=f"{VARIABLE}={os.environ[VARIABLE]}",
            remedy="`ray status` shows what there is; FISHSEG_DEVICE=cpu does without GPUs"
            if each == "gpu"
            else "`ray status` shows what there is",
        )
    return room


def _share() -> float:
    given = os.environ.get(SHARE) or "1"
    try:
        share = float(given)
    except ValueError:
        share = math.nan
    if not (0 < share <= 1):
        raise ParameterError(
            f"{given!r} is no share of a GPU",
            where=f"the environment variable {SHARE}",
            expected="more than 0, up to 1",
            remedy=f"unset {SHARE} to give each worker a GPU of its own",
        )
    return share


def _parts(items: Sequence[Item], n_workers: int) -> list[list[Item]]:
    size = min(_LARGEST_PART, math.ceil(len(items) / (_PARTS_A_WORKER * n_workers)))
    return [list(items[start : start + size]) for start in range(0, len(items), size)]


def _environment(each: str) -> dict[str, str]:
    """What the environment says of fishseg here; a worker asks no others for help."""
    ours = {name: value for name, value in os.environ.items() if name.startswith("FISHSEG_")}
    ours[VARIABLE] = ""
    if each != "gpu":
        ours["FISHSEG_DEVICE"] = "cpu"
    return ours


@dataclasses.dataclass(frozen=True)
class _Failure:
    """What a worker raised, and the machine it was on."""

    error: Exception
    machine: str

    @classmethod
    def of(cls, error: Exception) -> _Failure:
        """An error as it can travel."""
        text = "".join(traceback.format_exception(error))
        try:
            error = _unpickled(pickle.dumps(error))
        except Exception:  # whatever its own methods do
            error = RuntimeError(str(error))
        if not isinstance(error, FishsegError):
            error.add_note(f"\nRaised by a worker of Ray:\n{text}")
        return cls(error, platform.node())

    def explained(self) -> Exception:
        """The error, with the machine where that is another one."""
        error = self.error
        if self.machine == platform.node() or not isinstance(error, FishsegError):
            return error
        where = f"{error.where}, " if error.where else ""
        return type(error)(
            error.what,
            where=f"{where}on the machine {self.machine}",
            expected=error.expected,
            remedy=error.remedy,
        )


class _Worker:
    """A process of Ray's, which `load` is called in once."""

    def __init__(
        self, load: Callable[[], Any], folder: str, environment: Mapping[str, str]
    ) -> None:
        self._load, self._folder, self._environment = load, folder, environment
        self._loading = threading.Lock()
        self._work: Callable[[list[Any]], Iterable[Any]] | None = None

    def __call__(self, part: Any) -> Any:
        """The answer to a part, be it results or what went wrong: Ray would try that again."""
        answer: list[Any] | _Failure
        try:
            answer = list(self._loaded()(_unpickled(part["items"][0].as_py())))
        except Exception as error:
            answer = _Failure.of(error)
        arrow = importlib.import_module("pyarrow")  # comes with Ray
        return arrow.table({"number": part["number"], "answer": [pickle.dumps(answer)]})

    def _loaded(self) -> Callable[[list[Any]], Iterable[Any]]:
        with self._loading:
            if self._work is None:
                os.environ.update(self._environment)
                try:
                    os.chdir(self._folder)
                except OSError as error:
                    raise FishsegError(
                        f"a worker does not see the project's folder: {error.strerror}",
                        where=self._folder,
                        expected="the same path on all machines",
                        remedy="share the folder, for example by NFS",
                    ) from None
                self._work = self._load()
            return self._work


def _unpickled(content: bytes) -> Any:
    """What this process and its workers send each other, through Ray alone."""
    return pickle.loads(content)  # noqa: S301


def _last_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[-1].strip() if lines else type(error).__name__
