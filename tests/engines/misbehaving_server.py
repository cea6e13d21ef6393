"""A real HTTP server that speaks OpenAI's protocol and fails by script; what it was asked is kept for the test."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any


@dataclass(frozen=True)
class Reply:
    """What goes over the wire.

    Attributes:
        body: JSON value, or the bytes themselves.
        cut: bytes that are promised and never sent.
        wait: seconds before the first byte.
        drip: seconds between single bytes.
    """

    body: Any
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    cut: int = 0
    wait: float = 0.0
    drip: float = 0.0


@dataclass(frozen=True)
class Asked:
    """One request as it came in."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    at: float

    @property
    def prompt(self) -> str:
        return str(self.body["prompt"] if "prompt" in self.body else self.body["messages"][0]["content"])


def says(text: str | None, asked: Asked, reason: str = "stop", **more: Any) -> Reply:
    """A well-formed answer to `asked`; a token is a word."""
    choice = {"text": text} if "prompt" in asked.body else {"message": {"role": "assistant", "content": text, **more}}
    words = len((text or "").split())
    usage = {"prompt_tokens": len(asked.prompt.split()), "completion_tokens": words}
    return Reply({"choices": [{"index": 0, "finish_reason": reason, **choice}], "usage": usage})


def error(status: int, message: str, **headers: str) -> Reply:
    return Reply({"error": {"message": message}}, status, headers)


def echo(asked: Asked, number: int) -> Reply:
    """An answer that depends on the prompt and the seed alone."""
    return says(f"{asked.body.get('seed')} {asked.prompt}", asked)


Script = Callable[[Asked, int], Reply]


class MisbehavingServer:
    """Answers by `script(request, its number from 0)` on a port of its own, each request in a thread."""

    def __init__(self, script: Script = echo) -> None:
        self.script = script
        self.asked: list[Asked] = []
        self._open: list[socket.socket] = []
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                outer._open.append(self.connection)

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                request = Asked(self.path, dict(self.headers), body, time.monotonic())
                with outer._lock:
                    number = len(outer.asked)
                    outer.asked.append(request)
                self._send(outer.script(request, number))

            def _send(self, reply: Reply) -> None:
                data = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
                time.sleep(reply.wait)
                try:
                    self.send_response(reply.status)
                    for name, value in reply.headers.items():
                        self.send_header(name.replace("_", "-"), value)
                    self.send_header("Content-Length", str(len(data) + reply.cut))
                    self.end_headers()
                    for part in [data[i : i + 1] for i in range(len(data))] if reply.drip else [data]:
                        self.wfile.write(part)
                        time.sleep(reply.drip)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True  # the client has lost patience, as it should
                if reply.cut:
                    self.close_connection = True

            def log_message(self, format: str, *args: Any) -> None:
                pass

        class Listener(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

        self._listener = Listener(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._listener.server_port}/v1"

    def __enter__(self) -> "MisbehavingServer":
        threading.Thread(target=self._listener.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._listener.shutdown()
        self._listener.server_close()
        for connection in self._open:  # else a client goes on talking to a thread of a server that is gone
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
