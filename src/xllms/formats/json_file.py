"""JSON as people have it, an array or one value a line: every value with the line it stands on.

An array is decoded element by element, since `json.loads` would not tell on which line a record stands. What is broken
is yielded as a `BadRecord` in its place, so that the reader decides whether to stop there or to go on.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from xllms.errors import InputError

_LONGEST_REASON = 300
_NUL = "holds NUL bytes (a crash or a full disk leaves such); remove them"
_DEEP = "nested too deeply to be a record"


class BadRecord(InputError):
    """One record cannot be read; others of the file may be.

    Attributes:
        where: file with line, or row.
        reason: one printable line, shortened: a key or value in it may be anything.
    """

    def __init__(self, where: str, reason: str) -> None:
        shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in reason[:_LONGEST_REASON])
        self.where, self.reason = where, shown if len(reason) <= _LONGEST_REASON else shown + "..."
        super().__init__(f"{where}: {self.reason}")


def read_values(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield (`file:line`, value) of an array's elements, or of the lines that are not blank.

    Raises:
        InputError: the file cannot be read, is no JSON or is cut off; names file and line.
    """
    for where, value in scan_values(path):
        if isinstance(value, BadRecord):
            raise value
        yield where, value


def scan_values(path: Path) -> Iterator[tuple[str, Any]]:
    """As `read_values`, with a `BadRecord` for what is no JSON; after one in an array, the rest cannot be found.

    Raises:
        InputError: the file cannot be read, or an array is not UTF-8 text.
    """
    try:
        yield from _scan_array(path) if _starts_array(path) else _scan_lines(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None


def _starts_array(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(1 << 16).removeprefix(b"\xef\xbb\xbf").lstrip()
        while not start and (more := file.read(1 << 16)):
            start = more.lstrip()
    return start.startswith(b"[")


def _scan_lines(path: Path) -> Iterator[tuple[str, Any]]:
    for number, (start, raw, ended) in enumerate(_lines(path), 1):
        where = f"{path}:{number}"
        try:
            # Files that were joined with `cat` have their marks of byte order in the middle.
            line = raw.decode("utf-8").removeprefix("\ufeff")
        except UnicodeDecodeError as error:
            yield where, BadRecord(where, f"not UTF-8 text (byte {start + error.start}); save it as UTF-8")
            continue
        if line.strip():
            yield where, _value(line, where, ended)


def _lines(path: Path) -> Iterator[tuple[int, bytes, bool]]:
    """(offset, line without its end, whether it has one): ends may be of Unix, Windows and old Macs, mixed."""
    at = 0
    with path.open("rb") as file:
        for chunk in file:
            body = chunk.rstrip(b"\r\n")
            ended = len(body) < len(chunk)
            parts = body.split(b"\r")  # JSON has none within a text
            for index, part in enumerate(parts):
                yield at, part, ended or index < len(parts) - 1
                at += len(part) + 1
            at += len(chunk) - len(body) - 1


def _value(line: str, where: str, ended: bool) -> Any:
    if "\0" in line:
        return BadRecord(where, _NUL)
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        cut = "" if ended else " (the file seems to be cut off here)"
        return BadRecord(where, f"not JSON: {error.msg}{cut}")
    except RecursionError:
        return BadRecord(where, _DEEP)
    except ValueError as error:  # a number of more than 4,300 digits
        return BadRecord(where, f"not JSON that can be read: {error}")


def _scan_array(path: Path) -> Iterator[tuple[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    decoder = json.JSONDecoder()
    at, line, index, counted = _after_space(text, text.index("[") + 1), 1, 0, 0
    if text[at : at + 1] != "]":
        while True:
            line, counted = line + text.count("\n", counted, at), at
            where = f"{path}:{line}: record {index}"
            try:
                value, at = decoder.raw_decode(text, at)
            except json.JSONDecodeError as error:
                yield where, _broken(path, text, error.pos, error.msg, index)
                return
            except (RecursionError, ValueError) as error:
                yield where, BadRecord(where, _DEEP if isinstance(error, RecursionError) else str(error))
                return
            yield where, value
            at, index = _after_space(text, at), index + 1
            if text[at : at + 1] != ",":
                break
            at = _after_space(text, at + 1)
    if text[at : at + 1] != "]":
        yield str(path), _broken(path, text, at, "expected , or ]", index)
    elif text[at + 1 :].strip():
        yield str(path), _broken(path, text, at + 1, "text after the array", index)


def _after_space(text: str, at: int) -> int:
    while text[at : at + 1] in (" ", "\n", "\r", "\t") and at < len(text):
        at += 1
    return at


def _broken(path: Path, text: str, at: int, message: str, index: int) -> BadRecord:
    rest = text[at:].strip()
    cut = "; the file seems to be cut off here" if not rest or "Unterminated" in message else ""
    where = f"{path}:{text.count(chr(10), 0, at) + 1}"
    if rest.startswith("\0"):
        return BadRecord(where, f"record {index} (counted from 0) {_NUL}")
    return BadRecord(where, f"not JSON in record {index} (counted from 0): {message}{cut}")
