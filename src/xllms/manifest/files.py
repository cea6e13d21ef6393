"""Files that are whole or absent: written under a temporary name, and renamed."""

import contextlib
import errno
import hashlib
import json
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from xllms.errors import InputError, XllmsError

_TRIES = 5
TEMPORARY = ".part-"  # what a name begins with while the file is written


def write_atomic(path: Path, content: str | bytes) -> None:
    """Write `path` so that a reader, or a crash at any moment, finds the old file or the whole new one.

    Raises:
        XllmsError: the disk is full or the folder cannot be written; names the folder.
    """
    with whole_or_absent(path) as file:
        file.write(content.encode("utf-8") if isinstance(content, str) else content)


@contextlib.contextmanager
def whole_or_absent(path: Path, *, unless_there: bool = False) -> Iterator[IO[bytes]]:
    """A file to write to that takes its name when the block ends well, and is gone when not.

    Args:
        path: its name.
        unless_there: of several processes that write it, the first wins, and the others' files are gone.

    Raises:
        XllmsError: the disk is full or the folder cannot be written; names the folder.
    """
    # Two machines may have the same number for a process, and the same folder.
    temporary = path.with_name(f"{TEMPORARY}{platform.node()}-{os.getpid()}-{path.name}")
    try:
        with _opened(temporary) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if not (unless_there and _linked(temporary, path)):
            temporary.replace(path)
    except OSError as error:
        raise disk_error(error, path) from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _opened(path: Path) -> IO[bytes]:
    """A new file; tried again where another process has removed the folder, which was empty, meanwhile."""
    for _ in range(_TRIES - 1):
        with contextlib.suppress(FileNotFoundError):
            path.parent.mkdir(parents=True, exist_ok=True)
            return path.open("wb")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("wb")


def _linked(temporary: Path, path: Path) -> bool:
    """Whether the file has its name, by this process or by another before it; not so where there are no links."""
    try:
        path.hardlink_to(temporary)
    except FileExistsError:
        return True
    except OSError:
        return path.exists()
    return True


def disk_error(error: OSError, path: Path) -> XllmsError:
    """The one line for a failed write."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return XllmsError(
            f"{path.parent}: no space left on the disk; free some and run the same command again: "
            "what was finished is kept"
        )
    return XllmsError(f"{path}: cannot be written: {error.strerror or error}")


def sha256_file(path: Path) -> str:
    """Hex digest of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(value: Any) -> str:
    """Hex digest of a JSON value; the order of keys does not matter."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def read_json(path: Path) -> Any:
    """The value in a JSON file.

    Raises:
        InputError: missing or not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: not UTF-8 text; remove the file to have it made again") from None
    except json.JSONDecodeError as error:
        raise InputError(
            f"{path}:{error.lineno}: not JSON: {error.msg}; remove the file to have it made again"
        ) from None
