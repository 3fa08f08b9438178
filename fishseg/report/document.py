"""The page's HTML: a fixed frame, style and script, and the content as JSON."""

from __future__ import annotations

import base64
import hashlib
import importlib.resources
import json
from collections.abc import Mapping, Sequence
from string import Template
from typing import Any

_ASSETS = importlib.resources.files("fishseg.report") / "assets"
# In this order they are one script.
REPORT = (
    "dom.js",
    "summary.js",
    "curves.js",
    "sections.js",
    "viewer.js",
    "browser.js",
    "main.js",
)
OWN_PICTURES = ("dom.js", "summary.js", "viewer.js", "browser.js", "own_pictures.js")


def render(
    content: Mapping[str, Any],
    *,
    title: str = "How well the fish were cut out",
    scripts: Sequence[str] = REPORT,
) -> str:
    """The whole page.

    Nothing of the content becomes markup: it travels as JSON, which the script writes as text.
    A content security policy forbids every other script and style, and every connection.

    Args:
        content: values that JSON knows, without NaN.
        title: what the page is about.
        scripts: the assets that draw it, in their order.
    """
    style = _asset("page.css")
    script = "\n".join(_asset(name) for name in scripts)
    policy = (
        "default-src 'none'; base-uri 'none'; form-action 'none'; img-src 'self' file: data:; "
        f"script-src {_digest(script)}; style-src {_digest(style)}"
    )
    return Template(_asset("page.html")).substitute(
        policy=policy, title=title, style=style, script=script, content=_inert(content)
    )


def _inert(content: Mapping[str, Any]) -> str:
    """JSON in which no browser can see the end of the script element, or a comment."""
    text = json.dumps(content, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("&", r"\u0026").replace("<", r"\u003c").replace(">", r"\u003e")


def _digest(text: str) -> str:
    """The source expression that admits exactly this inline script or style."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


def _asset(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")
