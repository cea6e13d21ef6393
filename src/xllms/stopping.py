"""Whether this process was asked to stop, by a scheduler that warns before it kills.

SIGTERM comes at preemption, SIGUSR1 some time before the wall time where the job asked for it. A launcher such as
torchrun ends its workers at a SIGTERM and passes no SIGUSR1 on: there the batch script touches a file instead, whose
path is in the environment variable XLLMS_STOP_FILE. Work that has something to lose listens, asks between two pieces
of it, keeps what it has and raises `Stopped`. All else is ended by a signal at once, as it always was.
"""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from xllms.manifest import write_atomic
from xllms.processes import is_main

STOP_FILE = "XLLMS_STOP_FILE"
# srun signals every process of a job step, and a torchrun among them then signals its workers: that is one request.
ECHO_SECONDS = 2.0

_heard: dict[int, float] = {}


@contextlib.contextmanager
def listen() -> Iterator[None]:
    """Note SIGTERM and SIGUSR1 instead of dying of them, until the block ends; in the main thread only.

    SIGINT, and a SIGTERM that comes more than `ECHO_SECONDS` after the first, end the process as without this. The
    mark of `yielded` that an earlier job left is taken away.

    Raises:
        XllmsError: the mark cannot be taken away.
    """
    _heard.clear()
    if is_main() and (mark := _mark()) is not None:
        mark.unlink(missing_ok=True)
    before: dict[int, Any] = {}

    def hear(number: int, frame: FrameType | None) -> None:
        first = _heard.setdefault(number, time.monotonic())
        if number == signal.SIGTERM and time.monotonic() - first > ECHO_SECONDS:
            signal.signal(number, before[number])
            signal.raise_signal(number)

    if threading.current_thread() is threading.main_thread():
        for name in ("SIGTERM", "SIGUSR1"):
            number = getattr(signal, name, None)  # Windows has no SIGUSR1
            if number is not None:
                before[number] = signal.signal(number, hear) or signal.SIG_DFL
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _heard.clear()


def asked() -> str | None:
    """Why this process should stop: `SIGTERM`, `SIGUSR1`, `XLLMS_STOP_FILE`; None if it should not.

    Signals count inside `listen`, the file everywhere. Several processes may hear of it at different moments, or one
    of them alone: they have to agree on where they stop.
    """
    for number in _heard:
        return signal.Signals(number).name
    file = os.environ.get(STOP_FILE)
    return STOP_FILE if file and Path(file).exists() else None


def yielded() -> None:
    """Tell the batch script that the work stopped as asked, with something kept, so that a requeue makes sense.

    Writes `<stop file>.yielded`, where there is a stop file: torchrun makes an exit code 1 of every other.

    Raises:
        XllmsError: the file cannot be written.
    """
    mark = _mark()
    if mark is not None:
        write_atomic(mark, "")


def _mark() -> Path | None:
    file = os.environ.get(STOP_FILE)
    return Path(f"{file}.yielded") if file else None
