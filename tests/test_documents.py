"""The documents against the code: quoted messages exist, the worked example runs."""

from __future__ import annotations

import ast
import functools
import re
import subprocess
from pathlib import Path

import pytest
import torch

from fishseg import cli, errors, params

REPOSITORY = Path(__file__).parents[1]
DOCUMENTS = sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")])
FAMILY = {
    name
    for name, member in vars(errors).items()
    if isinstance(member, type) and issubclass(member, Exception)
}


def modules() -> list[Path]:
    return sorted(
        path for part in ("fishseg", "stages") for path in (REPOSITORY / part).rglob("*.py")
    )


def strings(node: ast.AST) -> list[str]:
    """The texts in a piece of code; ``…`` stands for what an f-string fills in."""
    if isinstance(node, ast.JoinedStr):
        parts = (part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
        return ["".join(str(part) for part in parts)]
    if isinstance(node, ast.Constant):
        return [node.value] if isinstance(node.value, str) else []
    return [text for child in ast.iter_child_nodes(node) for text in strings(child)]


@functools.cache
def documented() -> list[str]:
    """The messages of docs/troubleshooting.md that fishseg itself gives."""
    text = (REPOSITORY / "docs/troubleshooting.md").read_text()
    _, _, tables = text.partition("## Messages")
    return re.findall(r"^\| `([^`]+)`", tables, flags=re.MULTILINE)


@functools.cache
def raised() -> dict[str, bool]:
    """What each error of the code says first, and whether it says what to do, too."""
    found: dict[str, bool] = {}
    for file in modules():
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                has_remedy = any(keyword.arg == "remedy" for keyword in node.keywords)
                is_ours = node.func.id in FAMILY or (node.func.id.endswith("Error") and has_remedy)
                if is_ours and node.args and not isinstance(node.args[0], ast.IfExp):
                    for text in strings(node.args[0])[:1]:
                        found[text] = found.get(text, True) and has_remedy
    return found


@functools.cache
def all_texts() -> frozenset[str]:
    return frozenset(text for file in modules() for text in strings(ast.parse(file.read_text())))


def fits(quoted: str, text: str) -> bool:
    """Whether a quoted message is the start of a text, where either has gaps."""
    pieces = [re.escape(piece) for piece in re.split("…", quoted)]
    return re.match(".*?".join(pieces), text, flags=re.DOTALL) is not None


def test_there_are_messages_to_compare() -> None:
    assert len(documented()) > 10
    assert len(raised()) > 100
    assert not all(raised().values())


@pytest.mark.parametrize("quoted", documented())
def test_a_documented_message_exists(quoted: str) -> None:
    assert any(fits(quoted, text) for text in all_texts()), "no error says this any more"


@pytest.mark.parametrize("text", sorted(text for text, remedy in raised().items() if not remedy))
def test_a_message_says_what_to_do_or_the_documents_do(text: str) -> None:
    if len(re.sub("[… ]", "", text)) > 3:  # the rest is put together from variables
        assert any(fits(quoted, text) for quoted in documented()), (
            "give it a remedy, or a row in docs/troubleshooting.md"
        )


def test_the_example_of_a_decoder_runs(tmp_path: Path) -> None:
    text = (REPOSITORY / "docs/own-decoder.md").read_text()
    blocks = dict(
        re.findall(r"<!-- example: (\S+) -->\n```python\n(.*?)```", text, flags=re.DOTALL)
    )
    assert list(blocks) == ["fishseg/decoders/pyramid.py", "fishseg/decoders/__init__.py"]
    module: dict[str, object] = {}
    exec(compile(blocks["fishseg/decoders/pyramid.py"], "pyramid.py", "exec"), module)
    name = re.search(r'DECODERS\["pyramid"\] = (\w+)', blocks["fishseg/decoders/__init__.py"])
    assert name is not None
    make = module[name[1]]
    assert callable(make)
    decoder = make(8)
    pixels = torch.zeros(2, 3, 42, 84, dtype=torch.uint8)
    logits = decoder(torch.randn(2, 8, 3, 6), pixels)
    assert logits.shape == (2, 1, 42, 84)
    logits.sum().backward()
    assert all(parameter.grad is not None for parameter in decoder.parameters())


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_between_documents_lead_somewhere(document: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", document.read_text())
    local = [target for target in targets if not target.startswith(("http:", "https:"))]
    assert [target for target in local if not (document.parent / target).exists()] == []


def text_of(pattern: str) -> str:
    return "\n".join(path.read_text() for path in sorted(REPOSITORY.glob(pattern)))


def test_the_readme_is_short() -> None:
    assert len((REPOSITORY / "README.md").read_text().splitlines()) <= 150


def test_tables_have_a_writer_and_stand_once() -> None:
    """What ``write_between_marks`` looks for is there, opened and closed."""
    sources = text_of("benchmarks/*.py") + text_of("experiments/*.py") + text_of("Makefile")
    marks = [
        (document.name, mark)
        for document in DOCUMENTS
        for mark in re.findall(r"^<!-- (\w+: [^>]*) -->$", document.read_text(), re.MULTILINE)
        if not mark.startswith("example: ")
    ]
    assert len(marks) > 5
    # The table of inference is pasted from what its benchmark prints.
    written = [mark for mark in marks if not mark[1].startswith("inference: ")]
    assert [mark for mark in written if f'"{mark[1]}"' not in sources] == []
    for document in DOCUMENTS:
        text = document.read_text()
        opened = re.findall(r"^<!-- (\w+): (?:.*) -->$", text, re.MULTILINE)
        closed = re.findall(r"^<!-- /(\w+) -->$", text, re.MULTILINE)
        assert closed == [name for name in opened if name != "example"]
        assert len(set(closed)) == len(closed)


TARGETS = dict(
    re.findall(r"^([a-z0-9-]+):[^=\n]*?(?:##\s*(.*))?$", text_of("Makefile"), flags=re.MULTILINE)
)


def test_make_help_lists_every_target() -> None:
    # Run by a make itself, make would say which folder it enters.
    command = ["make", "--no-print-directory", "help"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    listed = dict(re.findall(r"^(\S+)\s+(.*)$", done.stdout, flags=re.MULTILINE))
    phony = re.search(r"^\.PHONY: (.*)$", text_of("Makefile"), flags=re.MULTILINE)
    assert phony is not None
    assert set(listed) == set(TARGETS) == set(phony[1].split())
    assert all(listed.values())


def commands() -> list[str]:
    """What the documents tell people to type, in blocks and between backticks."""
    found = []
    for document in DOCUMENTS:
        text = document.read_text()
        blocks = re.findall(r"^ *```console\n(.*?)```", text, flags=re.DOTALL | re.MULTILINE)
        lines = [line.strip().removeprefix("$ ") for block in blocks for line in block.split("\n")]
        prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
        found += lines + re.findall(r"`([^`\n]+)`", prose)
    return found


def test_commands_in_the_documents_exist() -> None:
    # `store prune` is two words.
    ours = {"store"} | {command.__name__.rpartition(".")[2] for command in cli.COMMANDS}
    wrong = []
    for command in commands():
        target = re.match(r"make ([a-z][a-z0-9-]*)", command)
        if target and target[1] not in TARGETS:
            wrong.append(command)
        typed = re.match(r"fishseg ([a-z]+)", command)
        if typed and typed[1] not in ours and not command.startswith("fishseg needs"):
            wrong.append(command)
    assert wrong == []
    assert len(commands()) > 200


def test_parameters_in_the_documents_exist() -> None:
    known = {
        f"{section.section}.{name}" for section in params.SECTIONS for name in section.model_fields
    }
    given = re.findall(r"-S '?([a-z]+\.[a-z_]+)=", "\n".join(commands()))
    assert len(given) > 10
    assert set(given) - known == set()
