"""The notebook runs on what the stages leave, and what is committed of it is small and clean."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import nbformat
import pandas as pd
import pytest
import torch
from nbclient import NotebookClient

from fishseg import devices, splits
from fishseg.backbones import load_backbone
from fishseg.evaluation import files, predicting
from fishseg.features.extraction import extract
from fishseg.features.shards import FeatureCache
from fishseg.params import EvaluateParams, FeaturesParams, SplitParams, TrainParams
from fishseg.training import loop

REPOSITORY = Path(__file__).parents[1]
NOTEBOOK = REPOSITORY / "notebooks/explore.ipynb"
CPU = torch.device("cpu")


@pytest.fixture
def project(
    inventory: pd.DataFrame,
    split_params: SplitParams,
    workspace: Path,
    tiny_backbone: Path,
    features_params: FeaturesParams,
    train_params: TrainParams,
) -> Path:
    """A project in which the stages have run on eight tiny fish."""
    manifest = splits.make_manifest(inventory, split_params)
    backbone = load_backbone(tiny_backbone, (-1,), devices.precision(CPU))
    extract(inventory, backbone, features_params, Path("data/features"), CPU)
    cache = FeatureCache(Path("data/features"))
    trained = loop.train(cache, manifest, train_params.model_copy(update={"epochs": 20}), CPU)
    files.evaluate_cached(
        samples=predicting.with_rejected(manifest, inventory),
        cache=cache,
        decoder=trained.decoder.eval(),
        card=trained.card,
        params=EvaluateParams(threshold=0.3, bootstrap_samples=50, seed=0),
        device=CPU,
        decoder_sha256="",
        predictions=Path("data/predictions"),
        pooled=Path("data/pooled"),
        tables=Path("metrics/evaluate"),
    )
    shutil.copy(REPOSITORY / "params.yaml", workspace)
    (workspace / "notebooks").mkdir()
    return workspace


@pytest.mark.slow
def test_the_notebook_runs(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    notebook = nbformat.read(NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call]
    for cell in notebook.cells:
        cell.pop("outputs", None)
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    place = {"metadata": {"path": str(project / "notebooks")}}
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources=place).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 3
    said = [output["data"].get("text/plain", "") for output in outputs if "data" in output]
    scored = pd.read_csv(project / "metrics/evaluate/images.csv")
    n_val = int((scored["split"] == "val").sum())
    assert any(re.search(rf"of {n_val} val images are named", text) for text in said)


def test_what_is_committed_is_whole_small_and_of_no_machine() -> None:
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert len(text) < 500_000
    notebook = nbformat.reads(text, as_version=4)  # type: ignore[no-untyped-call]
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert {output.output_type for output in outputs} <= {"execute_result", "display_data"}
    assert sum("image/png" in output.data for output in outputs) == 3
    texts = [value for output in outputs for kind, value in output.data.items() if "text" in kind]
    assert not any(re.search(r"(^|[\s'\"(])(/|[A-Z]:\\)\w", value) for value in texts)
