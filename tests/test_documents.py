"""The documents against the code: quoted messages exist, the worked example runs."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

import pytest
import torch

from fishseg import errors

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
