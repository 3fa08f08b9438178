"""What a training run leaves in the store after each epoch, so that a killed one goes on.

A folder for a run: ``state.pt`` with the weights as they are, and a file an epoch with what was
measured in it. What is written after an epoch does not grow with the number of epochs before.
"""

from __future__ import annotations

import io
import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import torch

from fishseg import store
from fishseg.errors import StorageError

log = logging.getLogger(__name__)

Epoch: TypeAlias = Mapping[str, Any]
"""What was measured in an epoch; values that JSON knows."""


class Checkpoint:
    """The checkpoint of one run.

    Args:
        name: a fingerprint of everything that determines the run's course.

    Raises:
        StorageError: the store cannot be used.
    """

    def __init__(self, name: str) -> None:
        self._folder = store.folder("training") / name

    def save(self, state: Mapping[str, Any], epochs: Sequence[Epoch]) -> None:
        """Keep the state after the epochs so far. A disk that takes nothing costs no run.

        Args:
            state: tensors, and containers of them.
            epochs: all epochs so far; those of earlier calls are not written again.
        """
        try:
            self._folder.mkdir(exist_ok=True)
            for number, epoch in enumerate(epochs, start=1):
                if not self._epoch(number).exists():
                    with store.write_whole(self._epoch(number)) as new:
                        new.write_text(json.dumps(epoch), encoding="utf-8", newline="\n")
            # Not straight into the file: torch reports a full disk as a RuntimeError.
            content = io.BytesIO()
            torch.save({"n_epochs": len(epochs), **state}, content)
            with store.write_whole(self._state) as new:
                new.write_bytes(content.getbuffer())
        except (OSError, StorageError) as error:
            log.warning("no checkpoint of epoch %d: %s", len(epochs), error)

    def load(self, device: torch.device) -> tuple[dict[str, Any], list[Epoch]] | None:
        """The state and the epochs that were saved last; None where nothing was.

        Raises:
            Exception: of whatever kind, where a file is damaged.
        """
        if not self._state.exists():
            return None
        state = torch.load(self._state, map_location=device, weights_only=True)
        numbers = range(1, state.pop("n_epochs") + 1)
        epochs = [json.loads(self._epoch(number).read_text(encoding="utf-8")) for number in numbers]
        return state, epochs

    def remove(self) -> None:
        """Remove what is of no more use."""
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def _state(self) -> Path:
        return self._folder / "state.pt"

    def _epoch(self, number: int) -> Path:
        return self._folder / f"{number:05d}.json"
