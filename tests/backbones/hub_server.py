"""A loopback server that speaks as much of the hub's protocol as a download needs."""

from __future__ import annotations

import hashlib
import http.server
import json
import re
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

COMMIT = "c0ffee" + 34 * "0"


class HubServer:
    """A hub with one model, whatever it is called.

    Attributes:
        files: the model's files.
        refusal: status and ``X-Error-Code`` to answer with, where the path contains ``refused``.
        requests: method and path of every request so far.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.refusal: tuple[int, str] | None = None
        self.refused = ""
        self.requests: list[str] = []
        hub = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                hub.requests.append(f"{self.command} {self.path}")
                status, headers, body = hub.answer(self.path)
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body)

            do_HEAD = do_GET  # noqa: N815

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def serve(self, folder: Path) -> None:
        """Offer the files of ``folder``."""
        self.files = {path.name: path.read_bytes() for path in folder.iterdir()}

    def refuse(self, status: int, code: str, *, where: str) -> None:
        """Answer every request whose path contains ``where`` with this error."""
        self.refusal, self.refused = (status, code), where

    def stop(self) -> None:
        """Refuse connections from now on."""
        self._server.shutdown()
        self._server.server_close()

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body for a path."""
        if self.refusal and self.refused in path:
            status, code = self.refusal
            return status, {"X-Error-Code": code} if code else {}, b""
        if "/revision/" in path:
            about = {"id": "owner/model", "sha": commit_of(path)}
            return 200, {}, json.dumps(about).encode()
        if "/tree/" in path:
            listing = [
                {
                    "type": "file",
                    "path": name,
                    "size": len(content),
                    "oid": hashlib.sha1(content).hexdigest(),
                }
                for name, content in self.files.items()
            ]
            return 200, {}, json.dumps(listing).encode()
        content = self.files.get(path.rsplit("/", 1)[-1])
        if content is None:
            return 404, {"X-Error-Code": "EntryNotFound"}, b""
        tag = hashlib.sha256(content).hexdigest()
        return 200, {"X-Repo-Commit": commit_of(path), "ETag": f'"{tag}"'}, content


def commit_of(path: str) -> str:
    """The commit that a path asks for; the one of any branch or tag."""
    found = re.search(r"/([0-9a-f]{40})(?:/|$)", path)
    return found[1] if found else COMMIT
