from __future__ import annotations

import functools
import os
import re
import shlex
import shutil
import string
import subprocess
import sys
import typing
from pathlib import Path
from typing import Any

import pydantic
import pytest
import yaml
from dvc.utils.hydra import apply_overrides
from hypothesis import given, settings
from hypothesis import strategies as st

from fishseg import params
from fishseg.backbones.registry import REGISTRY
from fishseg.datasets.sources import SOURCES
from fishseg.decoders import DECODERS
from fishseg.errors import FishsegError, ParameterError
from fishseg.training.losses import LOSSES
from stages import download

REPOSITORY = Path(__file__).parents[1]


def edited(tmp_path: Path, **changes: object) -> Path:
    """The repository's parameters with ``section__key`` changed; None removes the key."""
    tree: dict[str, Any] = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    for name, value in changes.items():
        section, key = name.split("__")
        if value is None:
            del tree[section][key]
        else:
            tree[section][key] = value
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(tree))
    return path


@pytest.mark.parametrize("section", params.SECTIONS, ids=lambda section: str(section.section))
def test_the_repository_s_own_parameters_load(section: type[Any]) -> None:
    loaded = params.load(section, REPOSITORY / "params.yaml")
    for name, field in section.model_fields.items():
        assert field.description
        assert getattr(loaded, name) is not None
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        setattr(loaded, name, getattr(loaded, name))


def test_every_section_of_the_file_has_a_model() -> None:
    tree = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    assert list(tree) == [section.section for section in params.SECTIONS]


def test_a_float_that_yaml_reads_as_text_is_coerced(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    text = (REPOSITORY / "params.yaml").read_text()
    path.write_text(re.sub(r"learning_rate: \S+", "learning_rate: 1e-05", text))
    assert isinstance(yaml.safe_load(path.read_text())["train"]["learning_rate"], str)
    assert params.load(params.TrainParams, path).learning_rate == 1e-5


@functools.cache
def plain_parameters() -> str:
    """The repository's parameters, without comments."""
    return yaml.safe_dump(yaml.safe_load((REPOSITORY / "params.yaml").read_text()))


def with_value(folder: Path, key: str, value: str) -> Path:
    """The repository's parameters with the text behind ``key:`` replaced as it stands."""
    path = folder / "params.yaml"
    text, n_changes = re.subn(
        rf"^  {key}: .*$",
        lambda _: f"  {key}: {value}",
        plain_parameters(),
        count=1,
        flags=re.MULTILINE,
    )
    assert n_changes == 1
    path.write_text(text, encoding="utf-8")
    return path


TRAPS = [
    "042",
    "-007",
    "08",
    "0x1F",
    "+0x1f",
    "0b11",
    "0o17",
    "1_000",
    "0_",
    "1_0.5",
    "._5",
    "1:30",
]
TRAPS += ["1:30.5", "190:20:30", "yes", "No", "on", "OFF", "2026-11-25", "2026-11-25 10:00:00"]
TRAPS += ["2026-11-25T10:00:00Z", "2026-13-45", "2026-1-5"]


@pytest.mark.parametrize("value", TRAPS)
@pytest.mark.parametrize("key", ["epochs", "learning_rate", "init_from"])
def test_what_yaml_1_1_and_1_2_read_differently_is_refused(
    tmp_path: Path, key: str, value: str
) -> None:
    path = with_value(tmp_path, key, value)
    line = path.read_text().splitlines().index(f"  {key}: {value}") + 1
    with pytest.raises(ParameterError) as caught:
        params.load(params.TrainParams, path)
    message = str(caught.value)
    assert f"{value} is " in message
    assert f"{path}: line {line}" in message
    assert f"in quotes: '{value}'" in message


@pytest.mark.parametrize("value", TRAPS)
def test_what_is_refused_without_quotes_is_text_within_them(tmp_path: Path, value: str) -> None:
    path = with_value(tmp_path, "init_from", f"'{value}'")
    assert params.load(params.TrainParams, path).init_from == value
    assert params.load(params.TrainParams, with_value(tmp_path, "init_from", "1:fish")).init_from


@pytest.mark.parametrize("value", ["1e-5", "1E-05", "0.1e-4", "'1e-5'", '"1e-05"', "+1.e-5"])
def test_an_exponent_makes_a_number_in_quotes_or_without(tmp_path: Path, value: str) -> None:
    path = with_value(tmp_path, "learning_rate", value)
    assert params.load(params.TrainParams, path).learning_rate == 1e-5


NO_NUMBERS = ["9" * 5000, "1e999", ".inf", "-.inf", ".nan", "!!int abc", "!!float 0x", "=", "<<"]
NO_NUMBERS += ["!!python/name:os", "&a [*a]", "*a", "[" * 1000, "{", "'", "\x00", "\\x00", "'1_0'"]
NO_NUMBERS += ["' 5'", "'٣'", "~", "", "true", "[]"]


@pytest.mark.parametrize("value", NO_NUMBERS)
@pytest.mark.parametrize("key", ["epochs", "learning_rate"])
def test_what_is_no_number_is_refused_and_never_breaks(
    tmp_path: Path, key: str, value: str
) -> None:
    with pytest.raises(ParameterError, match=r"params\.yaml"):
        params.load(params.TrainParams, with_value(tmp_path, key, value))


def test_a_key_written_twice_is_refused(tmp_path: Path) -> None:
    path = with_value(tmp_path, "epochs", "3\n  epochs: 4")
    with pytest.raises(ParameterError, match="duplicate key"):
        params.load(params.TrainParams, path)


def core_schema(text: str) -> object:
    """What YAML 1.2 makes of a plain scalar (specification, 10.3.2)."""
    if text in ("", "~", "null", "Null", "NULL"):
        return None
    if text in ("true", "True", "TRUE", "false", "False", "FALSE"):
        return text.lower() == "true"
    if re.fullmatch(r"[-+]?[0-9]+", text):
        return int(text)
    if re.fullmatch(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", text):
        return float(text)
    return text


SCALARS = st.one_of(
    st.from_regex(r"[-+]?[0-9._:eExXob-]{1,8}", fullmatch=True),
    st.from_regex(
        r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt ][0-9]{1,2}:[0-9]{2}:[0-9]{2})?", fullmatch=True
    ),
    st.sampled_from(
        ["yes", "No", "ON", "off", "y", "true", "FALSE", "null", "~", ".inf", "-.INF", ".NaN"]
    ),
    st.floats().map(repr),
    st.integers().map(str),
    st.text(string.ascii_letters + string.digits + "-+._:/ ", min_size=1).map(str.strip),
    st.text(),
)


@settings(max_examples=400, deadline=None, derandomize=True, database=None)
@given(key=st.sampled_from(["epochs", "learning_rate", "init_from"]), value=SCALARS)
def test_any_value_is_what_yaml_1_2_says_or_refused(
    tmp_path_factory: pytest.TempPathFactory, key: str, value: str
) -> None:
    path = with_value(tmp_path_factory.getbasetemp(), key, value)
    try:
        read = getattr(params.load(params.TrainParams, path), key)
    except FishsegError:
        return
    plain = value.split(" #", 1)[0].strip()
    if not re.fullmatch(r"[\w.+/-][\w.+/: -]*", plain, flags=re.ASCII):
        return  # quotes, tags, lists and the like: enough that nothing else was raised
    expected = core_schema(plain)
    assert read == expected
    assert isinstance(expected, str) == isinstance(read, str)


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(content=st.one_of(st.binary(), st.text().map(str.encode)))
def test_any_file_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "params.yaml"
    path.write_bytes(content)
    with pytest.raises(FishsegError, match=r"params\.yaml"):
        params.load(params.TrainParams, path)


def test_an_experiment_of_dvc_changes_its_own_lines_of_the_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    before = (REPOSITORY / "params.yaml").read_text()
    path.write_text(before)
    apply_overrides(path, ["train.epochs=15"])
    assert path.read_text() == before
    apply_overrides(path, ["train.learning_rate=1e-5", "split.held_out_class='042'"])
    changed = set(path.read_text().splitlines()) - set(before.splitlines())
    assert {line.split(":")[0].strip() for line in changed} == {"learning_rate", "held_out_class"}
    assert params.load(params.TrainParams, path).learning_rate == 1e-5
    assert params.load(params.SplitParams, path).held_out_class == "042"


def test_whole_floats_are_whole_numbers_and_booleans_are_not(tmp_path: Path) -> None:
    assert params.load(params.TrainParams, edited(tmp_path, train__epochs=3.0)).epochs == 3
    with pytest.raises(ParameterError, match=r"train\.epochs is True"):
        params.load(params.TrainParams, edited(tmp_path, train__epochs=True))


@pytest.mark.parametrize(
    ("section", "changes", "words"),
    [
        (params.TrainParams, {"train__epochs": 0}, ["train.epochs is 0", "at least 1"]),
        (params.TrainParams, {"train__epochs": 2.5}, ["train.epochs is 2.5", "whole number"]),
        (params.TrainParams, {"train__learning_rate": 0}, ["above 0"]),
        (params.TrainParams, {"train__learning_rate": "fast"}, ["'fast'", "a number"]),
        (params.TrainParams, {"train__learning_rate": float("nan")}, ["nan"]),
        (params.TrainParams, {"train__schedule": "cosin"}, ["'cosin'", "constant, cosine"]),
        (params.TrainParams, {"train__schedule": "cosin"}, ["-S train.schedule=cosine"]),
        (params.TrainParams, {"train__loss": "foo"}, ["one of bce, bce_dice, bce_lovasz"]),
        (params.TrainParams, {"train__decoder": "liner"}, ["-S train.decoder=linear"]),
        (params.DataParams, {"data__source": "kagle"}, ["-S data.source=kaggle"]),
        (params.BackboneParams, {"backbone__name": "dinov3-vits16"}, ["name=dinov3_vits16"]),
        (params.BackboneParams, {"backbone__name": "foo"}, ["'foo'", "a hub id", "a local folder"]),
        (params.BackboneParams, {"backbone__name": ""}, ["''", "dinov2_vits14"]),
        (params.TrainParams, {"train__seed": None}, ["train.seed is missing", "git checkout"]),
        (params.TrainParams, {"train__epoch": 3}, ["unknown", "train.epoch", "write train.epochs"]),
        (params.TrainParams, {"train__start_from": "x"}, ["write train.init_from"]),
        (params.TrainParams, {"train__start_share": 0}, ["write train.wise_ft_alpha", "1 - "]),
        (params.TrainParams, {"train__threshold": 0.5}, ["write evaluate.threshold"]),
        (params.TrainParams, {"train__wise_ft_alpha": 0}, ["above 0 and at most 1"]),
        (params.EvaluateParams, {"evaluate__threshold": 1}, ["above 0 and below 1"]),
        (params.FeaturesParams, {"features__layers": []}, ["features.layers"]),
        (params.FeaturesParams, {"features__layers": [0]}, ["layer 0"]),
        (params.FeaturesParams, {"features__layers": 3}, ["a list of whole numbers"]),
        (params.DataParams, {"data__source": "local"}, ["data.path", "folder"]),
        (params.SplitParams, {"split__folds": 1}, ["one fold"]),
        (params.SplitParams, {"split__folds": 3, "split__fold": 3}, ["no fold 3 of 3", "0 to 2"]),
        (params.SplitParams, {"split__val_fraction": 0.9}, ["none to train on"]),
        (params.SplitParams, {"split__fold": 2}, ["no folds", "split.folds=5 -S split.fold=2"]),
        (
            params.DataParams,
            {"data__path": "../mine"},
            ["'../mine'", "sample, which reads no folder", "-S data.source=local"],
        ),
        (params.DataParams, {"data__path": "x", "data__source": "kaggle"}, ["data.path=''"]),
        (params.DataParams, {"data__scene": "anywhere"}, ["has no copies"]),
    ],
)
def test_what_is_not_allowed_is_refused_with_key_and_remedy(
    tmp_path: Path, section: type[Any], changes: dict[str, object], words: list[str]
) -> None:
    path = edited(tmp_path, **changes)
    with pytest.raises(ParameterError) as caught:
        params.load(section, path)
    message = str(caught.value)
    assert all(word in message for word in [*words, str(path), "expected:", "to do:"]), message


OF_LATER_STAGES = {
    "split__val_fraction": 0.9,
    "features__layers": [0],
    "backbone__name": "foo",
    "train__epochs": -1,
    "train__loss": "foo",
    "train__epoch": 3,
    "report__quality": 0,
}


@pytest.mark.parametrize("changed", OF_LATER_STAGES)
def test_the_first_stage_refuses_what_a_later_one_would(tmp_path: Path, changed: str) -> None:
    path = edited(tmp_path, **{changed: OF_LATER_STAGES[changed]})
    with pytest.raises(ParameterError, match=re.escape(changed.replace("__", "."))):
        params.load(params.DataParams, path)
    with pytest.raises(ParameterError, match=re.escape(changed.replace("__", "."))):
        params.load_all(path)


@pytest.mark.parametrize(
    ("changed", "value", "said"),
    [
        ("data__mask_values", "quatsch", "'quatsch' does not say which values"),
        ("train__init_from", "elsewhere", "no decoder to go on from in 'elsewhere'"),
    ],
)
def test_what_a_later_stage_could_not_use_is_refused_before_anything_is_fetched(
    workspace: Path, changed: str, value: str, said: str
) -> None:
    edited(workspace, **{changed: value})
    with pytest.raises(ParameterError, match=said):
        download.main()
    assert not (workspace / "data/raw").exists()


def test_sections_that_are_missing_or_unknown_are_refused(tmp_path: Path) -> None:
    path = edited(tmp_path)
    tree = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({**tree, "trian": {"epochs": 3}}))
    with pytest.raises(ParameterError, match=r"(?s)unknown section trian.*write train"):
        params.load(params.DataParams, path)
    del tree["report"]
    path.write_text(yaml.safe_dump(tree))
    with pytest.raises(ParameterError, match="no section 'report'"):
        params.load(params.DataParams, path)


def test_names_stand_in_their_registries_too() -> None:
    """They stand in both, since the parameters import none of the rooms (see their docstring)."""

    def allowed(section: type[pydantic.BaseModel], name: str) -> tuple[str, ...]:
        return typing.get_args(section.model_fields[name].annotation)

    assert set(allowed(params.DataParams, "source")) == set(SOURCES)
    assert set(allowed(params.TrainParams, "decoder")) == set(DECODERS)
    assert set(allowed(params.TrainParams, "loss")) == set(LOSSES)
    assert set(params.BACKBONES) == set(REGISTRY)


@pytest.mark.parametrize("name", [*params.BACKBONES, "owner/model", "../mine", "here", "C:\\here"])
def test_a_backbone_may_be_anything_that_could_be_there(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("here").mkdir()
    path = edited(tmp_path, backbone__name=name)
    assert params.load(params.BackboneParams, path).name == name


def test_the_scene_of_the_sample_set_is_nothing_to_other_pictures(tmp_path: Path) -> None:
    path = edited(tmp_path, data__source="local", data__path="mine", data__scene="shoal")
    assert params.load(params.DataParams, path).path == "mine"


def test_every_new_name_exists() -> None:
    names = {
        f"{section.section}.{name}" for section in params.SECTIONS for name in section.model_fields
    }
    assert set(params.RENAMED).isdisjoint(names)
    for said in params.RENAMED.values():
        assert re.findall(r"write (\w+\.\w+)", said)[0] in names


def test_a_missing_file_and_broken_yaml_say_where(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="root of the repository"):
        params.load(params.TrainParams, tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text("train: [1, 2\n")
    with pytest.raises(ParameterError, match="not YAML"):
        params.load(params.TrainParams, tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text("train: 3\n")
    with pytest.raises(ParameterError, match="no section 'train'"):
        params.load(params.TrainParams, tmp_path / "params.yaml")


def test_choose_names_what_there_is_and_what_is_close() -> None:
    assert params.choose({"cnn3": 1}, "cnn3", "train.decoder") == 1
    with pytest.raises(ParameterError, match=r"(?s)one of cnn3, linear.*train\.decoder=linear"):
        params.choose({"cnn3": 1, "linear": 2}, "liner", "train.decoder")


def test_a_path_counts_from_where_it_was_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout = tmp_path / "my fish"
    copy = checkout / ".dvc/tmp/exps/tmpabc"
    (copy / "deeper").mkdir(parents=True)
    for place in (copy, copy / "deeper"):
        monkeypatch.chdir(place)
        assert params.typed_path("../pictures") == checkout / "../pictures"
        assert params.typed_path("/pictures") == Path("/pictures")
        assert params.typed_path("~/pictures") == Path.home() / "pictures"
    for place in (checkout, checkout / ".dvc/tmp/exps", checkout / ".dvc/tmp"):
        monkeypatch.chdir(place)
        assert params.typed_path("../pictures") == Path("../pictures")
    with pytest.raises(ParameterError, match="~nobody-of-that-name"):
        params.typed_path("~nobody-of-that-name/fish")


DOCUMENT = (REPOSITORY / "docs/own-data.md").read_text()
QUOTED = re.findall(r"^\| `(\.\./[^`]+)` \| `(-S [^`]+)` \|$", DOCUMENT, flags=re.MULTILINE)


def test_there_are_quotings_to_try() -> None:
    assert len(QUOTED) == 5


@pytest.mark.parametrize(("folder", "typed"), QUOTED)
def test_paths_arrive_as_the_documents_quote_them(folder: str, typed: str, tmp_path: Path) -> None:
    path = edited(tmp_path)
    _, override = shlex.split(typed)
    apply_overrides(path, ["data.source=local", override])
    assert params.load(params.DataParams, path).path == folder


def test_a_temporary_run_finds_the_folder_that_was_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With real DVC: the copy lies elsewhere, and a name is quoted."""
    checkout, folder = tmp_path / "checkout", "../cod, größe (2024)"
    checkout.mkdir()
    (checkout / folder).mkdir()
    (checkout / folder / "found.txt").write_text("here")
    shutil.copy(REPOSITORY / "params.yaml", checkout)
    script = (
        "from pathlib import Path\n"
        "from fishseg import params\n"
        "folder = params.typed_path(params.load(params.DataParams).path)\n"
        "Path('out.txt').write_text((folder / 'found.txt').read_text())\n"
    )
    (checkout / "stage.py").write_text(script)
    stage = {"cmd": "python stage.py", "params": ["data.path"], "metrics": ["out.txt"]}
    (checkout / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"one": stage}}))
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    for name, value in (("NAME", "Test"), ("EMAIL", "test@example.org")):
        monkeypatch.setenv(f"GIT_AUTHOR_{name}", value)
        monkeypatch.setenv(f"GIT_COMMITTER_{name}", value)

    def run(*command: str) -> str:
        done = subprocess.run(command, cwd=checkout, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run("git", "init", "--quiet")
    run("dvc", "init", "--quiet")
    run("git", "add", "--all")
    run("git", "commit", "--quiet", "--message", "start")
    overrides = ["-S", "data.source=local", "-S", f"data.path='{folder}'"]
    run("dvc", "exp", "run", "--temp", "--name", "typed", *overrides)
    run("dvc", "exp", "apply", "typed")
    assert (checkout / "out.txt").read_text() == "here"


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")
def test_a_checkout_may_lie_in_a_folder_with_a_space(tmp_path: Path) -> None:
    checkout = tmp_path / "my fish's"
    (checkout / ".venv/bin").mkdir(parents=True)
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copy(REPOSITORY / name, checkout)
    # Programs that write down how they were called, an argument a line.
    note = '#!/bin/sh\nprintf "%s\\n" "$(basename "$0")" "$@" >> "$NOTES"\n'
    for name in ("python", "dvc"):
        (checkout / ".venv/bin" / name).write_text(note)
        (checkout / ".venv/bin" / name).chmod(0o755)
    environment = {**os.environ, "NOTES": str(tmp_path / "notes"), "PYTHON": ".venv/bin/python"}
    command = ["make", "setup", "PYTHON=.venv/bin/python"]
    subprocess.run(command, cwd=checkout, env=environment, check=True, capture_output=True)
    told = (tmp_path / "notes").read_text().splitlines()
    setting = told.index("plots.html_template")
    assert told[setting + 1 : setting + 2] == ["../.venv/plots.html"]
    assert (checkout / ".venv/bin/.installed").exists()
