"""Ray's workers on two nodes of this machine, against this process alone."""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import importlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from drawn_fish import draw_fish
from numpy.typing import NDArray
from PIL import Image

from fishseg import cluster
from fishseg.audit import matching
from fishseg.audit.inventory import build_inventory
from fishseg.backbones import Backbone, load_backbone
from fishseg.cli.filling import fill, wanted_of
from fishseg.cli.inputs import find_pictures
from fishseg.cli.models import Loaded
from fishseg.errors import BackboneError, DataError, FishsegError, ParameterError
from fishseg.features import extraction
from fishseg.parallel import process_map
from fishseg.params import FeaturesParams

CPU = torch.device("cpu")
REPOSITORY = Path(__file__).parents[1]


def test_without_the_variable_nothing_of_ray_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    program = (
        "import sys, stages.features, stages.audit, fishseg.cli\n"
        "from fishseg.parallel import process_map\n"
        "assert list(process_map(abs, [-1, -2, -3, -4, -5], workers=1)) == [1, 2, 3, 4, 5]\n"
        "assert 'ray' not in sys.modules"
    )
    monkeypatch.delenv(cluster.VARIABLE, raising=False)
    subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, check=True)


def test_a_variable_without_ray_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setenv(cluster.VARIABLE, "local")
    cluster._connected.cache_clear()
    with pytest.raises(FishsegError, match=r"(?s)ray is not installed.*pip install '\.\[ray"):
        list(process_map(abs, [-1, -2, -3, -4]))


@pytest.mark.parametrize(
    ("each", "nodes", "expected"),
    [
        ("core", [{"CPU": 2.0}, {"CPU": 3.0}, {"memory": 1.0}], (5, 1, 0)),
        ("node", [{"CPU": 8.0}, {"CPU": 20.0}], (3, 8, 0)),
        ("gpu", [{"CPU": 64.0, "GPU": 8.0}, {"CPU": 16.0}, {"CPU": 8.0, "GPU": 2.0}], (10, 4, 1)),
    ],
)
def test_workers_get_what_the_nodes_have(
    each: str, nodes: list[dict[str, float]], expected: tuple[int, int, float]
) -> None:
    assert cluster._room(nodes, each) == expected


def test_two_workers_share_a_gpu_where_that_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = [{"CPU": 16.0, "GPU": 1.0}]
    monkeypatch.setenv(cluster.SHARE, "0.5")
    assert cluster._room(nodes, "gpu") == (2, 8, 0.5)
    monkeypatch.setenv(cluster.SHARE, "2")
    with pytest.raises(ParameterError, match="'2' is no share of a GPU"):
        cluster._room(nodes, "gpu")


def test_a_cluster_without_gpus_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cluster.VARIABLE, "auto")
    with pytest.raises(FishsegError, match="no machine of Ray's has a GPU to give"):
        cluster._room([{"CPU": 16.0}], "gpu")


@pytest.mark.parametrize(("n_items", "n_workers"), [(1, 3), (9, 2), (100, 1), (5000, 4)])
def test_parts_hold_every_item_once_and_suffice_for_all_workers(
    n_items: int, n_workers: int
) -> None:
    parts = cluster._parts(range(n_items), n_workers)
    assert [item for part in parts for item in part] == list(range(n_items))
    assert len(parts) >= min(n_items, 2 * n_workers)
    assert max(map(len, parts)) <= 32


def test_another_machine_s_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    error = DataError("broken", where="a.png", expected="a picture", remedy="look at it")
    failure = cluster._Failure.of(error)
    assert str(failure.explained()) == str(error)
    elsewhere = dataclasses.replace(failure, machine="elsewhere").explained()
    assert isinstance(elsewhere, DataError)
    assert elsewhere.where == "a.png, on the machine elsewhere"
    assert (elsewhere.what, elsewhere.remedy) == (error.what, error.remedy)


# From here on with Ray.


class TwoNodes:
    """A cluster of two nodes with a core each, and a place where workers wait for a test."""

    def __init__(self, ray: Any) -> None:
        self.ray = ray
        self._cluster = importlib.import_module("ray.cluster_utils").Cluster()
        self._second: Any = None
        self._add()
        self.address: str = self._cluster.address
        ray.init(address=self.address, log_to_driver=False)

    def _add(self, tries: int = 4) -> Any:
        """A raylet gives its agents 20 seconds to start, which on a busy machine may not do."""
        try:
            return self._cluster.add_node(
                num_cpus=1,
                node_ip_address="127.0.0.1",
                include_dashboard=False,
                object_store_memory=80 * 2**20,
            )
        except Exception as error:
            if "timed out during startup" not in str(error) or tries == 1:
                raise
            return self._add(tries - 1)

    def complete(self) -> None:
        """Let there be two nodes, also after one was removed."""
        if self._second is None:
            self._second = self._add()
            self._cluster.wait_for_nodes()

    def remove_second(self) -> None:
        self._cluster.remove_node(self._second, allow_graceful=False)
        self._second = None

    @property
    def second(self) -> str:
        return str(self._second.node_id)

    def shutdown(self) -> None:
        self.ray.shutdown()
        self._cluster.shutdown()


@pytest.fixture(scope="module")
def two_nodes() -> Iterator[TwoNodes]:
    before = dict(os.environ)
    # Workers import this file, too.
    paths = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "tests"), *filter(None, sys.path)])
    os.environ.update({**cluster._QUIET, **cluster._HERE, "PYTHONPATH": paths})
    ray = pytest.importorskip("ray", reason="Ray is not installed (pip install '.[ray]')")
    nodes = TwoNodes(ray)
    yield nodes
    nodes.shutdown()
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def by_ray(two_nodes: TwoNodes, monkeypatch: pytest.MonkeyPatch) -> TwoNodes:
    two_nodes.complete()
    monkeypatch.setenv(cluster.VARIABLE, two_nodes.address)
    cluster._connected.cache_clear()
    return two_nodes


@dataclasses.dataclass(frozen=True)
class Setting:
    """All that extraction takes; every image is a shard of its own."""

    backbone: Path
    params: FeaturesParams

    @property
    def load(self) -> Callable[[], Backbone]:
        return partial(load_backbone, self.backbone, (-1,))

    def extract(self, name: str, reload: Callable[[], Backbone] | None = None) -> None:
        inventory = build_inventory(Path("data/raw"), max_broken_share=0).table
        network = self.load()
        extraction.extract(inventory, network, self.params, Path(name), CPU, reload=reload)


@pytest.fixture
def setting(fish_folder: Path, tiny_backbone: Path, features_params: FeaturesParams) -> Setting:
    weights = Path("data/backbone")
    shutil.copytree(tiny_backbone, weights)
    return Setting(weights, features_params.model_copy(update={"shard_size": 1}))


def contents(folder: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}


def alone(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """What this process computes, with a store of its own."""
    with monkeypatch.context() as patch:
        patch.setenv("FISHSEG_STORE", "other")
        setting.extract("alone")
    return contents("alone")


def stored() -> dict[str, int]:
    """The shards of the store, and when each was written."""
    return {path.name: path.stat().st_mtime_ns for path in Path("data/.store/shards").glob("*.s*")}


def test_two_nodes_write_the_bytes_that_one_process_writes(
    setting: Setting, by_ray: TwoNodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting.extract("by_ray", setting.load)
    assert contents("by_ray") == alone(setting, monkeypatch)


def square_unless_three(number: int) -> int:
    if number == 3:
        raise DataError("this picture is broken", where="3.png")
    return number * number


def test_results_come_in_order_and_the_first_mistake_ends_the_run(by_ray: TwoNodes) -> None:
    numbers = [*range(4, 60), 0, 1, 2]
    assert list(process_map(square_unless_three, numbers)) == [n * n for n in numbers]
    with pytest.raises(DataError, match=r"(?s)this picture is broken.*3\.png"):
        list(process_map(square_unless_three, range(60)))


def test_one_broken_picture_is_named(setting: Setting, by_ray: TwoNodes) -> None:
    inventory = build_inventory(Path("data/raw"), max_broken_share=0).table
    broken = Path(inventory["image_path"][3])
    broken.write_bytes(broken.read_bytes()[:200])
    with pytest.raises(DataError, match=f"(?s)where: .*{broken.name}"):
        extraction.extract(
            inventory, setting.load(), setting.params, Path("one"), CPU, reload=setting.load
        )


def test_a_worker_without_the_weights_says_so(setting: Setting, by_ray: TwoNodes) -> None:
    elsewhere = partial(load_backbone, Path("data/elsewhere"), (-1,))
    with pytest.raises(BackboneError, match=r"(?s)where: .*data/elsewhere"):
        setting.extract("one", elsewhere)


def test_a_worker_with_other_weights_says_so(setting: Setting, by_ray: TwoNodes) -> None:
    other = partial(load_backbone, setting.backbone, (-1,), torch.bfloat16)
    with pytest.raises(BackboneError, match="would compute other features: its precision differs"):
        setting.extract("one", other)


class BrightModel:
    """Brightness is the probability."""

    threshold = 0.5

    def probability(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.asarray(image.max(axis=2) / 255, np.float32)


def bright() -> Loaded:
    return Loaded(model=BrightModel(), identity="bright", about="")


def predict(folder: str) -> dict[str, bytes]:
    """What ``fishseg predict`` writes of a folder of pictures, besides its memory and its page."""
    options = argparse.Namespace(
        min_share=0.01, excel=False, coco=True, mm_per_px=0.2, reference_px=None,
        reference_mm=None, scale=None, scales=None,
    )  # fmt: skip
    wanted, scales = wanted_of(options)
    wanted = dataclasses.replace(wanted, model="bright")
    found = find_pictures(["pictures"])
    assert fill(Path(folder), found, bright().model, wanted, scales, reload=bright) == 1
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file() and not path.relative_to(folder).as_posix().startswith(".")
    }


def test_predictions_are_those_of_one_process(
    fish_folder: Path, by_ray: TwoNodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(fish_folder / "Fish_Dataset/Fish_Dataset/Trout/Trout", "pictures")
    Path("pictures/broken.png").write_bytes(b"no picture")
    found = predict("by_ray")
    monkeypatch.delenv(cluster.VARIABLE)
    assert found == predict("alone")
    assert {"masks/00001.png", "measurements.csv"} <= set(found)


def test_copies_lie_where_one_process_lays_them(
    workspace: Path, by_ray: TwoNodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path("data/raw")
    folder.mkdir()
    pictures = []
    for number in range(matching._CHUNK * 4):
        path = folder / f"{number}.png"
        Image.fromarray(draw_fish(number)[0]).save(path)
        pictures.append(matching.File(path, hashlib.sha256(path.read_bytes()).hexdigest()))
    queries = [matching.Query(picture, itself=number) for number, picture in enumerate(pictures)]
    found = []
    for kept_in in (Path("by_ray"), Path("alone")):
        kept_in.mkdir()
        sources = matching.prepare_sources(pictures[:8], kept_in)
        matching.match(queries, sources, matching.as_a_whole, description="")
        found.append({path.name: path.read_bytes() for path in kept_in.glob("matches-*")})
        monkeypatch.delenv(cluster.VARIABLE, raising=False)
    assert len(found[0]) == 4
    assert found[0] == found[1]


class Gate:
    """Where workers wait until a test lets them go on."""

    def __init__(self) -> None:
        import asyncio

        self._open, self._arrived = asyncio.Event(), asyncio.Event()

    async def arrive(self) -> None:
        self._arrived.set()
        await self._open.wait()

    async def arrived(self) -> None:
        await self._arrived.wait()

    async def open(self) -> None:
        self._open.set()


@dataclasses.dataclass(frozen=True)
class Halting:
    """Loads a backbone that waits at a gate before its second image, on one node or on all."""

    load: Callable[[], Backbone]
    gate: str
    node: str | None

    def __call__(self) -> Backbone:
        ray = importlib.import_module("ray")
        backbone: Any = self.load()
        gate = ray.get_actor(self.gate, namespace="tests")
        compute, n_images = backbone.on_one_thread, 0

        def halting(pixels: torch.Tensor) -> torch.Tensor:
            nonlocal n_images
            n_images += 1
            here = ray.get_runtime_context().get_node_id()
            if n_images == 2 and self.node in (None, here):
                ray.get(gate.arrive.remote())
            found: torch.Tensor = compute(pixels)
            return found

        backbone.on_one_thread = halting
        return backbone  # type: ignore[no-any-return]


@pytest.fixture
def gate(by_ray: TwoNodes, request: pytest.FixtureRequest) -> Iterator[Any]:
    options = {"num_cpus": 0, "name": "gate", "namespace": "tests", "lifetime": "detached"}
    remote = by_ray.ray.remote(Gate).options(**options, max_concurrency=10).remote()
    yield remote
    by_ray.ray.kill(remote)


def test_a_node_that_goes_loses_nothing(
    setting: Setting, by_ray: TwoNodes, gate: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from concurrent.futures import ThreadPoolExecutor

    halting = Halting(setting.load, "gate", by_ray.second)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(setting.extract, "by_ray", halting)
        arrived = gate.arrived.remote()
        while not by_ray.ray.wait([arrived], timeout=1)[0]:
            if running.done():  # whatever ended it, waiting for ever would not say
                running.result()
                pytest.fail("all was computed before a worker came to the second node")
        by_ray.remove_second()
        running.result()
    assert contents("by_ray") == alone(setting, monkeypatch)


DRIVER = """
import json, sys
from pathlib import Path
import ray
from fishseg import cluster
from fishseg.params import FeaturesParams
from test_cluster import Halting, Setting
ray.init(address=sys.argv[1], log_to_driver=False)
setting = Setting(Path("data/backbone"), FeaturesParams.model_validate(json.loads(sys.argv[2])))
setting.extract("by_ray", Halting(setting.load, "gate", None))
"""


def test_a_driver_that_was_killed_computes_what_is_missing(
    setting: Setting, by_ray: TwoNodes, gate: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = json.dumps(setting.params.model_dump(mode="json"))
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, by_ray.address, given])
    by_ray.ray.get(gate.arrived.remote())  # one shard of it is written, or about to be
    driver.kill()
    driver.wait()
    by_ray.ray.get(gate.open.remote())
    before = stored()
    counted: list[Any] = []
    monkeypatch.setattr(cluster, "spread", counting(cluster.spread, counted))
    setting.extract("by_ray", setting.load)
    assert contents("by_ray") == alone(setting, monkeypatch)
    n_kept = 2 * 8 - sum(gap.masks + gap.features for gap in counted)
    assert n_kept >= len(before) > 0
    assert {name: stamp for name, stamp in stored().items() if name in before} == before


def counting(spread: Callable[..., Iterator[Any]], counted: list[Any]) -> Callable[..., Any]:
    def wrapped(load: Any, items: list[Any], **options: Any) -> Iterator[Any]:
        counted.extend(items)
        return spread(load, items, **options)

    return wrapped
