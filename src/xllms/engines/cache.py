"""Answers that a server has given, on disk: a run that died is finished without asking for any of them again.

One SQLite file with a write-ahead log. A commit is there after `kill -9`, and threads and processes of one machine
share the file; machines that share a folder want a file each, for the log lives in memory that they do not share.
Answers are committed one by one: 3,000 kept and 15,000 found in a second of one busy core, faster than servers answer.
"""

import contextlib
import errno
import hashlib
import json
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from xllms.engines.protocol import Written
from xllms.errors import InputError, XllmsError
from xllms.manifest import disk_error

_PATIENCE = 60.0  # seconds to wait for another process that is writing
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)


@dataclass(frozen=True)
class Answer:
    """What is kept of one request: the answer, and the tokens that it took when it was asked for."""

    written: Written
    input_tokens: int = 0
    output_tokens: int = 0


def request_key(request: Mapping[str, Any]) -> str:
    """Identity of a request: a digest of all that decides its answer, given as a JSON value; key order is no part."""
    # Escaped to ASCII: a lone surrogate in a prompt has no UTF-8.
    return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()


class AnswerCache:
    """Answers by the identity of their request.

    Args:
        path: the file; made with its folder where it is not there.

    Raises:
        InputError: the file is damaged or something else; says the way out.
        XllmsError: it cannot be opened or written, or the disk is full.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise disk_error(error, path) from None
        with self._one_line_errors():
            self._database = sqlite3.connect(path, _PATIENCE, isolation_level=None, check_same_thread=False)
            self._database.execute("PRAGMA journal_mode = WAL")
            # No fsync per answer: a dead process loses nothing, a dead machine the last answers, and the file is whole.
            self._database.execute("PRAGMA synchronous = NORMAL")
            self._database.execute("CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, value TEXT NOT NULL)")

    def get(self, key: str) -> Answer | None:
        """The answer to a request; none where it has not been answered.

        Raises:
            InputError: the file is damaged.
        """
        with self._lock, self._one_line_errors():
            row = self._database.execute("SELECT value FROM answers WHERE key = ?", (key,)).fetchone()
        return None if row is None else self._parsed(row[0])

    def keep(self, key: str, answer: Answer) -> Answer:
        """Keep an answer, and return what is kept: the first stays where two processes asked for the same.

        Raises:
            XllmsError: the disk is full, or the file cannot be written.
        """
        with self._lock, self._one_line_errors():
            self._database.execute("INSERT OR IGNORE INTO answers VALUES (?, ?)", (key, json.dumps(asdict(answer))))
            row = self._database.execute("SELECT value FROM answers WHERE key = ?", (key,)).fetchone()
        return self._parsed(row[0])

    def __len__(self) -> int:
        with self._lock, self._one_line_errors():
            return int(self._database.execute("SELECT count(*) FROM answers").fetchone()[0])

    def close(self) -> None:
        """Give the file back; what was kept stays."""
        with self._lock:
            self._database.close()

    def _parsed(self, text: str) -> Answer:
        try:
            value = json.loads(text)
            return Answer(Written(**value["written"]), value["input_tokens"], value["output_tokens"])
        except (ValueError, TypeError, KeyError):
            raise self._damaged("an answer in it cannot be read") from None

    @contextlib.contextmanager
    def _one_line_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self._failure(error) from None

    def _failure(self, error: sqlite3.Error) -> XllmsError:
        # The low byte is the kind of an error, the rest its details; none where Python itself refused.
        code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
        if code == sqlite3.SQLITE_FULL:
            return disk_error(OSError(errno.ENOSPC, "disk full"), self.path)
        if code in _DAMAGED:
            return self._damaged(str(error))
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return XllmsError(
                f"{self.path}: another process has been writing this cache for {_PATIENCE:.0f} seconds; "
                "end it, or give this run a cache of its own"
            )
        return XllmsError(f"{self.path}: the cache of answers cannot be used: {error}")

    def _damaged(self, what: str) -> InputError:
        return InputError(
            f"{self.path}: no cache of answers, or a damaged one ({what}); remove it with {self.path.name}-wal and "
            f"{self.path.name}-shm where they exist: what it held is asked for again"
        )
