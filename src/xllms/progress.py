"""One progress line per stage: what is at hand, done/total, rate, time to go."""

import sys
import time
from types import TracebackType
from typing import TextIO


class Progress:
    """A line that is rewritten on a terminal, and printed anew every few seconds elsewhere.

    Args:
        stage: the stage's name, shown first.
        total: how many units there are to do; may be set later.
        unit: what a unit is, such as `examples`.
        every: seconds between lines when standard error is no terminal.
        quiet: say nothing: one of several processes that is not the main one.
    """

    def __init__(
        self,
        stage: str,
        total: int = 0,
        unit: str = "units",
        *,
        every: float = 20.0,
        stream: TextIO | None = None,
        quiet: bool = False,
    ) -> None:
        self._quiet = quiet
        self.stage, self.total, self.unit = stage, total, unit
        self.done = 0
        self.started_at = 0
        self._stream = stream or sys.stderr
        self._live = self._stream.isatty()
        self._every = 0.2 if self._live else every
        self._begun = time.monotonic()
        self._shown = self._begun if not self._live else 0.0
        self._width = 0

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._write(self._line("stopped" if kind else "done"), last=True)

    def resume_at(self, done: int) -> None:
        """Units that an earlier process finished: counted as done, left out of the rate."""
        self.done = self.started_at = done

    def skip(self, count: int) -> None:
        """Units found finished on the way."""
        self.done += count
        self.started_at += count

    def advance(self, count: int = 1, label: str = "") -> None:
        """Count finished units; `label` says what is at hand, such as a language."""
        self.done += count
        now = time.monotonic()
        if now - self._shown >= self._every:
            self._shown = now
            self._write(self._line(label))

    def _line(self, label: str) -> str:
        seconds = time.monotonic() - self._begun
        rate = (self.done - self.started_at) / seconds if seconds > 0 else 0.0
        rest = (self.total - self.done) / rate if rate > 0 else 0.0
        eta = f"ETA {_clock(rest)}" if self.done < self.total else f"in {_clock(seconds)}"
        return f"{self.stage:<13}{label:<16} {self.done}/{self.total} {self.unit}  {rate:.1f}/s  {eta}"

    def _write(self, line: str, last: bool = False) -> None:
        if self._quiet:
            return
        if self._live:
            self._stream.write("\r" + line.ljust(self._width) + ("\n" if last else ""))
            self._width = len(line)
        else:
            self._stream.write(line + "\n")
        self._stream.flush()


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"
