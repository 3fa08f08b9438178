"""Checkpoints from the Hugging Face hub, and what to do when it refuses."""

from __future__ import annotations

import errno
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from fishseg.backbones.checkpoint import CONFIG, PREPROCESSOR, WEIGHTS
from fishseg.errors import DownloadError

SHARD_INDEX = "model.safetensors.index.json"
_WANTED = [CONFIG, PREPROCESSOR, WEIGHTS, SHARD_INDEX, "model-*-of-*.safetensors"]


def download(hub_id: str, revision: str) -> tuple[Path, str]:
    """Fetch a checkpoint into the hub's own cache, taking up where an earlier try broke off.

    Args:
        hub_id: ``owner/model``.
        revision: commit, tag or branch; empty for the branch ``main``.

    Returns:
        The folder of the snapshot, and the commit it is of.

    Raises:
        DownloadError: the model or the revision does not exist, its licence was not accepted, the
            hub cannot be reached, or the disk is full.
    """
    try:
        snapshot = snapshot_download(hub_id, revision=revision or None, allow_patterns=_WANTED)
    except Exception as error:  # its HTTP library, hence its exceptions, change between releases
        raise _explain(error, hub_id, revision) from error
    folder = Path(snapshot)
    return folder, folder.name  # the hub's cache names a snapshot's folder after its commit


def _explain(error: Exception, hub_id: str, revision: str) -> DownloadError:
    """One message for whatever went wrong."""
    page = f"https://huggingface.co/{hub_id}"
    login = "log in with `hf auth login`, or put a token of your account into HF_TOKEN"
    # Where nothing is cached the client reports only that, and what happened as the cause.
    cause = error.__cause__ if isinstance(error, LocalEntryNotFoundError) else error
    status = cause.response.status_code if isinstance(cause, HfHubHTTPError) else None
    if isinstance(cause, RevisionNotFoundError):
        what = f"{hub_id} has no revision {revision!r}"
        remedy = f"see {page}/commits/main, or leave backbone.revision empty for its newest commit"
    elif isinstance(cause, GatedRepoError) or status == 403:
        what = f"{hub_id} is gated, and your account may not read it"
        remedy = (
            f"accept the licence on {page}, then {login}; or take backbone.name=dinov2_vits14, "
            "which needs no account"
        )
    elif isinstance(cause, RepositoryNotFoundError):
        what = f"there is no public model {hub_id} on the hub, nor a folder of that name here"
        remedy = f"check the spelling of backbone.name; if the model is private or gated, {login}"
    elif status == 401:
        what = "the hub does not know your token"
        remedy = login
    elif isinstance(cause, OfflineModeIsEnabled):
        what = f"{hub_id} was not downloaded before, and HF_HUB_OFFLINE forbids it now"
        remedy = "unset HF_HUB_OFFLINE, or choose a backbone that is on this machine"
    elif getattr(cause, "errno", None) == errno.ENOSPC or "No space left" in str(cause):
        # The second from the hub's Xet client, which is written in Rust and has no errno.
        what = "the disk is full"
        remedy = "free some space, or set HF_HOME to a folder on a larger disk; then run again"
    else:
        reason = (str(cause).strip().splitlines() or [type(cause).__name__])[0]
        what = f"the download broke off: {reason}"
        remedy = "check the network and run again: it goes on where it stopped"
    return DownloadError(what, where=page, remedy=remedy)
