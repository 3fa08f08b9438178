"""What a million pictures take, and where that would break: ``python -m benchmarks.schedule``.

Sums of bytes, hours and money, and a simulation of `fishseg.cluster`'s schedule: parts of shards,
dealt to workers as they get free; nodes that fail at random and come back; a store that all write
to. Nothing is measured here: what is assumed stands in the table it writes into docs/scale.md.
"""

from __future__ import annotations

import dataclasses
import heapq
import itertools
import math
import random
import statistics
from functools import partial
from pathlib import Path

from benchmarks.results import write_between_marks
from fishseg import cluster

PAGE = Path("docs/scale.md")
IMAGES = 1_000_000
SHARD_SIZE = 64  # `features.shard_size`; shards end by their content, so that most are smaller
# A shard ends at a hash with chance 1/64, or when it is full: the mean of a geometric law cut off.
MEAN_SHARD = SHARD_SIZE * (1 - (1 - 1 / SHARD_SIZE) ** SHARD_SIZE)
RUNS = 20
# Assumed, as no cluster was at hand.
STORE_BYTES_A_SECOND = 2e9  # written, by all nodes together: a good NFS server
HOURS_TO_FAILURE = 1000  # of a node, on average
UNLUCKY = 10  # and of one that is hardly to be relied on
HOURS_TO_RETURN = 0.25
# Measured: seconds of ViT-S/16 at 448x448 by OpenVINO on two cores with AVX512-BF16; and images a
# second of ViT-S/14 on an H100 with 16 cores, from files to shards, where reading them decides.
TWO_CORES_S = 0.0597
H100_IMAGES_A_SECOND = 175.0


@dataclasses.dataclass(frozen=True)
class Backbone:
    """A ViT-S with two layers kept, at the default working size of 4:3 pictures."""

    name: str
    patch: int
    height: int
    width: int
    prefix: int  # tokens besides patches
    channels: int = 384
    blocks: int = 12
    layers: int = 2

    @property
    def tokens(self) -> int:
        """Patches and prefix tokens of an image."""
        return self.patches + self.prefix

    @property
    def patches(self) -> int:
        """Cells of the feature map."""
        return self.height // self.patch * (self.width // self.patch)

    @property
    def operations(self) -> float:
        """Floating-point operations of an image: two for each multiplication of a product."""
        n, c = self.tokens, self.channels
        linear = 12 * c * c  # queries, keys, values, output: 4; the perceptron of width 4c: 8
        attention = 2 * n * c  # scores, and their sums
        return 2 * n * (linear + attention) * self.blocks

    @property
    def feature_bytes(self) -> int:
        """Of an image, in float16."""
        return self.patches * self.channels * self.layers * 2

    @property
    def pixel_bytes(self) -> int:
        """Of an image at its working size, with its mask as bits."""
        return self.height * self.width * 3 + self.height * math.ceil(self.width / 8)

    @property
    def bytes(self) -> int:
        """Of all that the store holds of an image."""
        return self.feature_bytes + self.pixel_bytes


VITS16 = Backbone("DINOv3 ViT-S/16", patch=16, height=448, width=592, prefix=5)
VITS14 = Backbone("DINOv2 ViT-S/14", patch=14, height=448, width=588, prefix=1)


@dataclasses.dataclass(frozen=True)
class Machine:
    """A kind of node.

    Attributes:
        name: what it is.
        workers: on each node.
        images_a_second: of each worker.
        dollars_an_hour: of a node, a round figure for renting one.
    """

    name: str
    workers: int
    images_a_second: float
    dollars_an_hour: float


def machines(backbone: Backbone) -> list[Machine]:
    """A node of CPUs, whose time goes with the operations, and one of GPUs, where it does not."""
    measured = dataclasses.replace(VITS16, width=448)
    core_seconds = 2 * TWO_CORES_S * backbone.operations / measured.operations
    return [
        Machine("64 cores", 1, 64 / core_seconds, 3.0),
        Machine("8 H100, 128 cores", 8, H100_IMAGES_A_SECOND, 24.0),
    ]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """Of a simulated run: hours to its end, nodes lost, and the share of work done twice."""

    hours: float
    failures: int
    again: float


def simulate(
    n_nodes: int,
    machine: Machine,
    image_bytes: int,
    *,
    seed: int,
    hours_to_failure: float = math.inf,
) -> Outcome:
    """Parts go to whoever is free first; a node that fails loses the shard in hand of each worker.

    Failures are a Poisson process (exponential times) of each node. What a failed node had
    finished of its parts is in the store; the rest of them is dealt again, at once.

    Args:
        n_nodes: at work.
        machine: what they are.
        image_bytes: that go to the store for each image.
        seed: of the failures.
        hours_to_failure: of a node, on average; none fails unless given.
    """
    rng = random.Random(seed)

    def lifetime() -> float:
        return hours_to_failure * rng.expovariate(1.0)

    waiting = parts(n_nodes * machine.workers)
    n_shards = sum(waiting)
    a_shard = MEAN_SHARD / rate_of_each(n_nodes, machine, image_bytes) / 3600  # hours
    fails = [lifetime() for _ in range(n_nodes)]
    falls = list(fails)
    free = [(0.0, node) for node in range(n_nodes) for _ in range(machine.workers)]
    again, end = 0.0, 0.0
    while waiting:
        now, node = heapq.heappop(free)
        if now >= fails[node]:
            back = fails[node] + HOURS_TO_RETURN
            if now < back:  # it fell while this worker was idle
                heapq.heappush(free, (back, node))
                continue
            fails[node] = back + lifetime()
            falls.append(fails[node])
        part = waiting.pop()
        done_at = now + part * a_shard
        if done_at < fails[node]:
            end = max(end, done_at)
            heapq.heappush(free, (done_at, node))
            continue
        done = (fails[node] - now) / a_shard
        again += done % 1
        waiting.append(part - int(done))
        heapq.heappush(free, (fails[node] + HOURS_TO_RETURN, node))
    return Outcome(end, sum(fall < end for fall in falls), again / n_shards)


def parts(n_workers: int) -> list[int]:
    """The shards of each part, as `fishseg.cluster` deals them."""
    n_shards = math.ceil(IMAGES / MEAN_SHARD)
    return [len(part) for part in cluster._parts(range(n_shards), n_workers)]


def rate_of_each(n_nodes: int, machine: Machine, image_bytes: int) -> float:
    """Images a second of a worker: its own pace, or its part of what the store takes."""
    the_store_s = STORE_BYTES_A_SECOND / image_bytes / (n_nodes * machine.workers)
    return min(machine.images_a_second, the_store_s)


def sums(backbone: Backbone) -> list[str]:
    """A row a kind of node: one of them, by arithmetic alone."""
    rows = []
    for machine in machines(backbone):
        rate = machine.images_a_second * machine.workers
        hours = IMAGES / rate / 3600
        cells = [
            backbone.name,
            machine.name,
            f"{backbone.operations / 1e9:.0f}",
            f"{backbone.feature_bytes * IMAGES / 1e12:.2f} + "
            f"{backbone.pixel_bytes * IMAGES / 1e12:.2f}",
            f"{rate:,.0f}",
            f"{hours:.2f}",
            f"{machine.dollars_an_hour * hours:.2f}",
            f"{backbone.bytes * rate / 1e9:.1f}",
            f"{backbone.bytes * IMAGES / STORE_BYTES_A_SECOND / 3600:.2f}",
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return rows


def schedules(backbone: Backbone) -> list[str]:
    """A row a number of nodes: the simulated runs."""
    rows = []
    for machine, n_nodes in itertools.product(machines(backbone), (1, 8, 64)):
        run = partial(simulate, n_nodes, machine, backbone.bytes)
        runs = [run(seed=seed, hours_to_failure=HOURS_TO_FAILURE) for seed in range(RUNS)]
        unlucky = [run(seed=seed, hours_to_failure=UNLUCKY) for seed in range(RUNS)]
        n_workers = n_nodes * machine.workers
        waits = rate_of_each(n_nodes, machine, backbone.bytes) < machine.images_a_second
        cells = [
            machine.name,
            str(n_nodes),
            f"{n_workers:,}",
            f"{len(parts(n_workers)):,}",
            f"{run(seed=0).hours:.2f}",
            *(f"{statistics.mean(one.hours for one in some):.2f}" for some in (runs, unlucky)),
            *(f"{statistics.mean(one.failures for one in some):.2f}" for some in (runs, unlucky)),
            f"{statistics.mean(one.again for one in unlucky):.3%}",
            "the store" if waits else "the workers",
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return rows


def table() -> list[str]:
    """Sums, then the simulated schedule."""
    arithmetic = [
        "backbone", "node", "Gflop an image", "TB: features + pixels", "images/s", "hours",
        "dollars", "GB/s to the store", f"hours at {STORE_BYTES_A_SECOND / 1e9:g} GB/s",
    ]  # fmt: skip
    simulated = [
        "node", "nodes", "workers", "parts", "hours, none failing",
        f"one in {HOURS_TO_FAILURE} h", f"one in {UNLUCKY} h",
        f"nodes lost, one in {HOURS_TO_FAILURE} h", f"one in {UNLUCKY} h",
        f"computed twice, one in {UNLUCKY} h", "bound by",
    ]  # fmt: skip
    return [
        *head(arithmetic, n_names=2),
        *sums(VITS16),
        *sums(VITS14),
        "",
        *head(simulated, n_names=1),
        *schedules(VITS16),
    ]


def head(names: list[str], *, n_names: int) -> list[str]:
    """Of a table whose first columns are no numbers."""
    return [
        f"| {' | '.join(names)} |",
        "|" + "---|" * n_names + "--:|" * (len(names) - n_names),
    ]


def main() -> None:
    """Write the tables between the page's marks."""
    lines = table()
    print("\n".join(lines))
    write_between_marks("schedule: python -m benchmarks.schedule", lines, PAGE)


if __name__ == "__main__":
    main()
