"""Who is at work in a stage's folder: one process alone, or several, each on a part of its own.

Locks are the system's, so they go with their process, however it ends. Machines that share a folder see each other's
where the file system has them, as NFS does; where it has none, every lock is had at once.
"""

import errno
import os
import platform
import time
from functools import cache
from pathlib import Path
from typing import IO

from xllms.errors import InputError
from xllms.manifest.files import disk_error
from xllms.processes import say

_JOINING_SECONDS = 3.0


class FolderBusy(InputError):
    """Another process is at work in a stage's folder."""


_held: dict[Path, IO[str]] = {}  # locks of this process; the system lets go of them when it ends, however it ends


def hold(folder: Path, part: str = "") -> None:
    """Hold a stage's folder, or one part of its work, for this process alone.

    Does nothing where the system or the file system has no locks.

    Raises:
        FolderBusy: another process holds it.
    """
    if _lock_of(folder, part) not in _held:
        _lock(folder, part, f"number {os.getpid()} on {platform.node()}")


def join(folder: Path) -> None:
    """Hold a stage's folder together with others that join: nobody holds it alone meanwhile.

    Raises:
        FolderBusy: another process holds it alone, for longer than one does that is about to join.
    """
    patience = time.monotonic() + _JOINING_SECONDS
    while True:
        try:
            return _lock(folder, "", "on parts of the work", shared=True)
        except FolderBusy:
            if time.monotonic() > patience:
                raise
            time.sleep(0.05)


def leave(folder: Path) -> None:
    """Let go of a folder that others may hold, too."""
    if file := _held.pop(_lock_of(folder), None):
        file.close()


def release(folder: Path, part: str = "") -> None:
    """Let go of a folder or a part, if this process holds it."""
    path = _lock_of(folder, part)
    if file := _held.pop(path, None):
        left = () if part else path.parent.glob(f"{path.stem}.part-*.lock")  # by killed processes
        for one in (*left, path):
            one.unlink(missing_ok=True)
        file.close()


def _lock(folder: Path, part: str, owner: str, *, shared: bool = False) -> None:
    if os.name == "nt":
        return
    path = _lock_of(folder, part)
    file = _held.pop(path, None) or _opened(path)
    if _taken(file, shared):
        file.seek(0)
        other = file.read().strip()
        file.close()
        raise FolderBusy(
            f"{folder}: another process is at work {f'on {part}' if part else 'here'} ({other}); wait for it, or write "
            "elsewhere with `--set output=FOLDER`"
        )
    if not _is_at(path, file):  # its owner removed it after it was opened here: nobody else would meet this lock
        file.close()
        _lock(folder, part, owner, shared=shared)
    else:
        file.truncate(0)
        file.write(owner)
        file.flush()
        _held[path] = file


def _taken(file: IO[str], shared: bool) -> bool:
    """Whether another process holds it; if not, this one does from now on."""
    import fcntl

    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return True
        _say_that_there_are_none(str(Path(file.name).parent), error.strerror or str(error))
    return False


@cache
def _say_that_there_are_none(folder: str, why: str) -> None:
    say(f"{folder}: this file system has no locks ({why}): do not start two runs in one folder")


def _is_at(path: Path, file: IO[str]) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _opened(path: Path) -> IO[str]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("a+")
    except OSError as error:
        raise disk_error(error, path) from None


def _lock_of(folder: Path, part: str = "") -> Path:
    """Beside the folder, which holds nothing but what the stage made."""
    folder = folder.resolve()
    return folder.with_name(f".{folder.name}.{part}.lock" if part else f".{folder.name}.lock")
