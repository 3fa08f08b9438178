"""A stand-in for Kaggle on the loopback interface, for the real client to talk to.

It speaks the two calls that the client makes, and the storage that the second one redirects to:

    POST /v1/security.OAuthService/IntrospectToken    is this API token good?
    POST /v1/datasets.DatasetApiService/DownloadDataset    302 to the file
    GET  /storage/archive.zip    the file, with ETag, Range and If-Range

and it can be told to misbehave in each.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Iterator

DOWNLOAD = "/v1/datasets.DatasetApiService/DownloadDataset"
INTROSPECT = "/v1/security.OAuthService/IntrospectToken"
STORAGE = "/storage/archive.zip"
GOOD_TOKEN = "a-good-token"


@dataclasses.dataclass
class Request:
    """One request as it arrived."""

    path: str
    body: dict[str, Any] | None
    byte_range: str | None
    if_range: str | None
    authorization: str | None


class KaggleServer(ThreadingHTTPServer):
    """The server, what it should do, and what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.archive = b""
        self.etag = '"first"'
        # What archive and ETag become before the n-th request to the storage, counted from 0.
        self.changes: dict[int, tuple[bytes, str]] = {}
        # The statuses to answer to the next requests of a path, before it works again; 0: work.
        self.failures: dict[str, list[int]] = {}
        # Where to cut the body of the n-th request to the storage, counted from 0, in bytes.
        self.cuts: dict[int, int] = {}
        self.mute = threading.Event()  # set: accept connections and never answer
        self.requests: list[Request] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def asked(self, path: str) -> list[Request]:
        return [request for request in self.requests if request.path == path]

    @contextlib.contextmanager
    def running(self) -> Iterator[KaggleServer]:
        thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield self
        finally:
            self.mute.clear()
            self.shutdown()
            thread.join()
            self.server_close()


class _Handler(BaseHTTPRequestHandler):
    @property
    def kaggle(self) -> KaggleServer:
        return cast("KaggleServer", self.server)

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        body = json.loads(self.rfile.read(length) or b"{}")
        if self._note_and_fail(body):
            return
        if self.path == INTROSPECT:
            good = body.get("token") == GOOD_TOKEN
            self._send_json(200, {"active": good, "username": "tester" if good else ""})
        elif self.path == DOWNLOAD:
            self.send_response(302)
            self.send_header("Location", f"{self.kaggle.url}{STORAGE}")
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            self._send_json(404, {"code": 404, "message": "no such call"})

    def do_GET(self) -> None:
        turn = len(self.kaggle.asked(STORAGE))
        if turn in self.kaggle.changes:
            self.kaggle.archive, self.kaggle.etag = self.kaggle.changes[turn]
        if not self._note_and_fail(None):
            self._send_archive(self.kaggle.cuts.get(turn))

    def _note_and_fail(self, body: dict[str, Any] | None) -> bool:
        self.kaggle.requests.append(
            Request(
                path=self.path,
                body=body,
                byte_range=self.headers.get("Range"),
                if_range=self.headers.get("If-Range"),
                authorization=self.headers.get("Authorization"),
            )
        )
        if self.kaggle.mute.is_set():
            self.connection.recv(1)  # returns when the client gives up
            return True
        statuses = self.kaggle.failures.get(self.path)
        status = statuses.pop(0) if statuses else 0
        if status:
            self._send_json(status, {"code": status, "message": "as the test wants it"})
            return True
        return False

    def _send_archive(self, cut: int | None) -> None:
        archive, etag = self.kaggle.archive, self.kaggle.etag
        start = 0
        byte_range = self.headers.get("Range")
        if byte_range is not None and self.headers.get("If-Range", etag) == etag:
            start = int(byte_range.removeprefix("bytes=").removesuffix("-"))
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(archive) - 1}/{len(archive)}")
        else:
            self.send_response(200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(archive) - start))
        self.send_header("Content-Type", "application/zip")
        self.send_header("ETag", etag)
        self.end_headers()
        # The client lets go of the first answer when it goes on with a second, ranged one.
        with contextlib.suppress(ConnectionError):
            self.wfile.write(archive[start:][:cut])

    def _send_json(self, status: int, answer: dict[str, Any]) -> None:
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - overridden
        """Keep the test report quiet."""
