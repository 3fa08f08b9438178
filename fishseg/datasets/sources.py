"""The data sources, by the name that ``data.source`` calls them.

A source fills a folder in the Kaggle layout (`fishseg.datasets.layout`). Adding one takes its file
and its line in `SOURCES`; none knows of the others.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fishseg.datasets import kaggle, local, sample
from fishseg.params import DataParams, choose

SOURCES: dict[str, Callable[[DataParams, Path], None]] = {
    "sample": sample.download,
    "kaggle": kaggle.download,
    "local": local.download,
}


def download(params: DataParams, raw: Path) -> None:
    """Fill the folder ``raw`` from the source that the parameters name.

    Raises:
        ParameterError: there is no such source.
        DownloadError, DataError: the source cannot give what it should.
    """
    source = choose(SOURCES, params.source, "data.source")
    raw.mkdir(parents=True, exist_ok=True)
    source(params, raw)
