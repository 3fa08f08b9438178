"""What docs/dvc.md tells people to type, with a folder and with an S3 server as the remote.

The repository has one stage, that of a decoder, so that no pipeline has to run first.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from clones import REPOSITORY, commit, in_clone, stages_run

pytestmark = pytest.mark.slow

BUCKET = "fish"
FILES = ("decoder.json", "decoder.safetensors")


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """An S3 server on this machine with one empty bucket, as the options of a DVC remote."""
    for package in ("dvc_s3", "flask", "flask_cors"):
        pytest.importorskip(package, reason="DVC's S3 remote or the server is not installed")
    boto3, moto = (pytest.importorskip(name) for name in ("boto3", "moto.server"))
    # Nobody's own profile, and no question to a network.
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {
        "AWS_CONFIG_FILE": "none",
        "AWS_SHARED_CREDENTIALS_FILE": "none",
        "AWS_ACCESS_KEY_ID": "tests",
        "AWS_SECRET_ACCESS_KEY": "tests",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": "127.0.0.1",
    }.items():
        monkeypatch.setenv(name, value)
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        address = f"http://{host}:{port}"
        boto3.client("s3", endpoint_url=address).create_bucket(Bucket=BUCKET)
        yield {"url": f"s3://{BUCKET}/cache", "endpointurl": address}
    finally:
        server.stop()


@pytest.fixture(params=["folder", "s3"])
def remote(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """The options of a DVC remote: its address, and where its server listens."""
    if request.param == "folder":
        return {"url": str(tmp_path / "remote")}
    options: dict[str, str] = request.getfixturevalue("bucket")
    return options


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository whose one stage makes the decoder that dvc.yaml calls an artifact."""
    folder = tmp_path / "repository"
    shutil.copytree(REPOSITORY / "fishseg/pretrained", folder / "trained", ignore=_all_but_decoder)
    (folder / ".dvc").mkdir()
    for name in (".dvc/config", ".dvc/.gitignore"):
        shutil.copy(REPOSITORY / name, folder / name)
    pipeline = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text(encoding="utf-8"))
    train = {
        "cmd": "python -c \"import shutil; shutil.copytree('trained', 'data/decoder')\"",
        "deps": ["trained"],
        "outs": pipeline["stages"]["train"]["outs"][:1],
    }
    (folder / "dvc.yaml").write_text(
        yaml.safe_dump({"artifacts": pipeline["artifacts"], "stages": {"train": train}}),
        encoding="utf-8",
    )
    (folder / "data").mkdir()
    in_clone(folder, "git", "init", "--quiet", "--initial-branch=main")
    in_clone(folder, "git", "config", "user.email", "test@example.org")
    in_clone(folder, "git", "config", "user.name", "test")
    in_clone(folder, "dvc", "repro")
    return folder


def _all_but_decoder(_folder: str, names: list[str]) -> list[str]:
    return [name for name in names if name not in FILES]


def test_a_decoder_travels(repository: Path, remote: dict[str, str], tmp_path: Path) -> None:
    in_clone(repository, "dvc", "remote", "add", "--default", "team", remote.pop("url"))
    for option, value in remote.items():
        in_clone(repository, "dvc", "remote", "modify", "team", option, value)
    commit(repository, "a decoder")
    assert "pushed" in in_clone(repository, "dvc", "push").stdout
    in_clone(repository, "gto", "register", "fish-decoder", "--version", "v1.0.0")
    shutil.rmtree(repository / ".dvc/cache")  # from here on, only the remote has it

    clone = tmp_path / "clone"
    in_clone(repository, "git", "clone", "--quiet", str(repository), str(clone))
    in_clone(clone, "dvc", "pull")
    assert "up to date" in in_clone(clone, "dvc", "status").stdout
    assert "in sync" in in_clone(clone, "dvc", "status", "--cloud").stdout
    assert stages_run(in_clone(clone, "dvc", "repro")) == set()
    assert in_clone(clone, "git", "status", "--short").stdout == ""

    got = ("dvc", "artifacts", "get", str(repository), "fish-decoder", "--rev", "v1.0.0")
    in_clone(tmp_path, *got, "--out", "decoder")
    for name in FILES:
        expected = (REPOSITORY / "fishseg/pretrained" / name).read_bytes()
        assert (clone / "data/decoder" / name).read_bytes() == expected
        assert (tmp_path / "decoder" / name).read_bytes() == expected
