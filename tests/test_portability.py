"""What runs on Linux shall run on Windows and macOS, and write the same bytes there."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
SOURCES = sorted(
    path for part in ("fishseg", "stages") for path in (REPOSITORY / part).rglob("*.py")
)
# Of the system or the library that only some systems have.
UNIX_ONLY = {
    "os": {"fork", "getuid", "geteuid", "killpg", "mkfifo", "preadv", "pwritev", "setsid"}
    | {"sync", "sysconf", "uname"},
    "signal": {"SIGKILL", "SIGALRM", "SIGHUP", "SIGUSR1", "alarm", "pause"},
}
UNIX_MODULES = {"fcntl", "grp", "pty", "pwd", "resource", "termios"}


def calls(path: Path, names: set[str]) -> list[ast.Call]:
    return [
        node
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in names
    ]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_texts_are_utf8_and_their_lines_end_alike(path: Path) -> None:
    """Windows would read and write its own encoding, and end lines with two characters."""
    for call in calls(path, {"read_text", "write_text"}):
        given = {keyword.arg for keyword in call.keywords}
        wanted_arguments = 1 if call.func.attr == "read_text" else 2  # type: ignore[attr-defined]
        assert "encoding" in given or len(call.args) >= wanted_arguments, ast.unparse(call)
        assert call.func.attr == "read_text" or "newline" in given, ast.unparse(call)  # type: ignore[attr-defined]
    for call in calls(path, {"to_csv"}):
        given = {keyword.arg for keyword in call.keywords}
        assert not call.args or "lineterminator" in given, ast.unparse(call)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_nothing_is_asked_of_the_system_that_only_some_have(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            assert not {alias.name for alias in node.names} & UNIX_MODULES
        if isinstance(node, ast.ImportFrom):
            assert node.module not in UNIX_MODULES
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            assert node.attr not in UNIX_ONLY.get(node.value.id, set()), ast.unparse(node)


def test_processes_start_by_spawn(tmp_path: Path) -> None:
    """As Windows and macOS start them: a new interpreter that imports the script again."""
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent("""
            import multiprocessing, os
            from fishseg.parallel import process_map

            def where(number):
                return number * number, os.getpid(), multiprocessing.get_start_method()

            if __name__ == "__main__":
                found = list(process_map(where, range(8), workers=2))
                print([square for square, _, _ in found])
                print(os.getpid() in {pid for _, pid, _ in found})
                print(*{method for _, _, method in found})
        """),
        encoding="utf-8",
    )
    done = subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    # Other processes than the one that asked, and none of them forked.
    assert done.stdout.splitlines() == ["[0, 1, 4, 9, 16, 25, 36, 49]", "False", "spawn"]
