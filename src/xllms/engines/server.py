"""One JSON request to a remote server, made again where that can help.

What passes with time is tried again after pauses that double and are jittered, so that threads that failed together do
not come back together: no connection, time-outs, 408, 409, 425, 429, 5xx, answers cut off on the way. What does not
pass ends the run at once (a refused key, an unknown model) or this one request (too long). No message holds the key.
"""

import email.utils
import ipaddress
import json
import os
import random
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from xllms.engines.protocol import EngineError
from xllms.errors import InputError
from xllms.recipe import OpenAISettings

if TYPE_CHECKING:
    import httpx

FIRST_PAUSE = 1.0  # seconds
LONGEST_PAUSE = 60.0
LONGEST_WISH = 600.0  # a server that asks for more has closed for the day
_PASSING = frozenset({408, 409, 425, 429})
_THIS_REQUEST = frozenset({400, 413, 422})
T = TypeVar("T")


class Refused(Exception):
    """The server does not take this one request."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class TryAgain(Exception):
    """A try that failed and may not fail again.

    Args:
        cause: for people.
        wish: seconds that the server asks to be left alone.
        status: of the answer; 0 where there was none.
    """

    def __init__(self, cause: str, wish: float | None = None, status: int = 0) -> None:
        super().__init__(cause)
        self.wish = wish
        self.status = status


class Stopped(Exception):
    """Another request of the same call has failed for good."""


class Pace:
    """Starts of requests, evenly apart, over all threads.

    Args:
        per_minute: starts in a minute; none: as they come.
    """

    def __init__(self, per_minute: float | None) -> None:
        self._apart = 60.0 / per_minute if per_minute else 0.0
        self._next = 0.0
        self._lock = threading.Lock()

    def wait(self, stop: threading.Event) -> None:
        """Until this request may start, or `stop`."""
        with self._lock:
            now = time.monotonic()
            start = max(now, self._next)
            self._next = start + self._apart
        stop.wait(start - now)

    def hold(self, seconds: float) -> None:
        """Start nothing for so long: a server that is overrun says it to one thread and means all."""
        with self._lock:
            self._next = max(self._next, time.monotonic() + seconds)


class Server:
    """Where an engine's requests go.

    Args:
        settings: address, key's variable, patience and pace.
        resume: what becomes of the answers so far, for the last line of a run that fails.
        retried: called before each further try.

    Raises:
        InputError: the address is none.
    """

    def __init__(self, settings: OpenAISettings, resume: str, retried: Callable[[], None]) -> None:
        self.url = settings.base_url.rstrip("/")
        self._settings = settings
        self._resume = resume
        self._retried = retried
        self._client: httpx.Client | None = None
        self._lock = threading.Lock()
        self._pace = Pace(settings.requests_per_minute)
        self._answered = False
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InputError(f"base_url: {self.url}: no address; write it as in http://127.0.0.1:8000/v1")
        self._local = is_local(parts.hostname)
        self._here = parts.hostname in ("localhost", "127.0.0.1", "::1")

    def ask(
        self,
        path: str,
        body: Mapping[str, Any],
        read: Callable[[Any], T],
        stop: threading.Event,
        *,
        at_once: frozenset[int] = frozenset(),
    ) -> T:
        """Send `body` to `path` until it is answered.

        Args:
            path: below the base URL.
            body: the request as JSON.
            read: makes something of the answer's JSON value, or raises TryAgain.
            stop: set when no further try is worth its while.
            at_once: statuses that are refusals here, though they might pass elsewhere.

        Raises:
            Refused: the server does not take this request.
            Stopped: `stop` was set before an answer came.
            EngineError: no other request would fare better (no key, no such model), or all tries have failed.
            InputError: httpx is not installed.
        """
        tries = 1 + self._settings.retries
        for number in range(1, tries + 1):
            self._pace.wait(stop)
            if stop.is_set():
                raise Stopped
            try:
                return read(self._post(path, body))
            except TryAgain as failed:
                if failed.status in at_once:
                    raise Refused(failed.status, str(failed)) from None
                if number == tries or (failed.wish or 0) > LONGEST_WISH:
                    count = f"{number} {'try' if number == 1 else 'tries'}"
                    raise EngineError(
                        f"{self.url}: gave up after {count} of one request: {failed}; {self._resume}"
                    ) from None
                self._pause(number, failed.wish, stop)
                self._retried()
        raise AssertionError("the last try returns or raises")

    def _pause(self, number: int, wish: float | None, stop: threading.Event) -> None:
        if wish:
            self._pace.hold(wish)
            return
        stop.wait(min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (number - 1)) * random.uniform(0.5, 1.0))

    def _connected(self) -> "httpx.Client":
        """Connections with the key in their headers, the same for all threads."""
        try:
            import httpx
        except ImportError:
            raise InputError("engine openai: httpx is not installed; run `pip install httpx`") from None
        with self._lock:
            if self._client is None:
                key = self._key()
                self._client = httpx.Client(
                    headers={"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {}),
                    timeout=httpx.Timeout(self._settings.timeout, pool=None),
                    limits=httpx.Limits(max_connections=None, max_keepalive_connections=self._settings.concurrency),
                    trust_env=not self._here,  # a site's proxy does not know what runs on this machine
                )
            return self._client

    def _post(self, path: str, body: Mapping[str, Any]) -> Any:
        """The JSON value of an answer with status 200."""
        client = self._connected()
        import httpx

        deadline = time.monotonic() + self._settings.timeout
        data = bytearray()
        try:
            with client.stream("POST", f"{self.url}{path}", content=json.dumps(body)) as response:
                for part in response.iter_bytes():
                    data += part
                    # httpx's own limit is from byte to byte: a server that drips would hold a thread for ever.
                    if time.monotonic() > deadline:
                        raise TryAgain(f"no whole answer within {self._settings.timeout:g} seconds")
        except httpx.TimeoutException:
            raise TryAgain(f"no answer within {self._settings.timeout:g} seconds") from None
        except httpx.RequestError as error:
            raise self._unreached(error) from None
        self._answered = True
        if response.status_code != 200:
            raise self._bad_status(response.status_code, self._message(bytes(data)), response.headers)
        try:
            return json.loads(data)
        except ValueError:
            raise TryAgain(f"the answer is no JSON: {self._shown(bytes(data).decode(errors='replace'))!r}") from None

    def _unreached(self, error: Exception) -> Exception:
        absent = _is_connection_refused(error)
        if absent and not self._answered:
            return EngineError(f"nothing answers at {self.url}: start the server, or correct base_url")
        what = "nothing answers there any more: start the server again" if absent else ""
        return TryAgain(what or self._shown(str(error)) or type(error).__name__)

    def _bad_status(self, status: int, message: str, headers: Mapping[str, str]) -> Exception:
        said = f"HTTP {status}" + (f": {message}" if message else "")
        if status in (401, 403):
            wanted = "refuses the key in" if self._key() else "wants a key, and there is none in"
            return EngineError(
                f"{self.url}: {wanted} the environment variable {self._settings.key_env} (HTTP {status}); set it to a "
                f"key that may use {self._settings.model}, or name another variable as key_env"
            )
        if status == 404:
            return EngineError(
                f"{self.url}: knows no model {self._settings.model}, or no such address: correct model or base_url, "
                f"which ends in /v1 on most servers ({said})"
            )
        if status in _THIS_REQUEST:
            return Refused(status, said)
        if status in _PASSING or status >= 500:
            return TryAgain(said, _retry_after(headers.get("retry-after", "")), status)
        return EngineError(f"{self.url}: {said}; correct base_url")

    def _key(self) -> str:
        name = self._settings.key_env
        key = os.environ.get(name, "").strip()
        if not key and not self._local:
            raise EngineError(
                f"{self.url}: no key: set the environment variable {name} (to any word where the server wants none)"
            )
        if not (key.isascii() and key.isprintable() and " " not in key) and key:
            raise EngineError(f"the environment variable {name} holds no key: it has spaces or characters of no key")
        return key

    def _message(self, data: bytes) -> str:
        """What the server says about an error, in one line."""
        text = data.decode(errors="replace")
        try:
            value = json.loads(text)
        except ValueError:
            return self._shown(text)
        return self._shown(error_text(value) or text)

    def _shown(self, text: str) -> str:
        key = os.environ.get(self._settings.key_env, "").strip()
        clean = text.replace(key, "***") if key else text  # some servers repeat it
        return " ".join(clean.split())[:200]


def error_text(value: Any) -> str:
    """The message in a server's error object, in one of the forms in use; empty where there is none."""
    for name in ("error", "message", "detail"):
        found = value.get(name) if isinstance(value, dict) else None
        if isinstance(found, str):
            return found
        if isinstance(found, dict):
            return error_text(found)
        if found:
            return json.dumps(found, ensure_ascii=False)
    return ""


def is_local(host: str) -> bool:
    """Whether a host is this machine or in its own network: a private address, or a name without a dot."""
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return "." not in host


def _retry_after(text: str) -> float | None:
    """Seconds from a Retry-After header, which holds these or a date."""
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError):
        return None


def _is_connection_refused(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ConnectionRefusedError):
            return True
        error = error.__cause__ or error.__context__
    return False
