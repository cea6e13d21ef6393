"""Runs the jobs of a local submission, one after the other: `python -m xllms.cluster.local_runner FOLDER JOB...`."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from xllms.cluster.job import ACTIVE
from xllms.cluster.local import Local
from xllms.cluster.script import PUT_BACK
from xllms.manifest import read_json, write_atomic

_GRACE = 20  # seconds between SIGTERM and SIGKILL
_LOOK = 2.0  # seconds between two looks at another runner's jobs


class Runner:
    """The jobs of one submission.

    Args:
        folder: where the notes are.
        jobs: ids, in an order in which each may be run.
    """

    def __init__(self, folder: Path, jobs: list[str]) -> None:
        self.folder, self.jobs, self._known = folder, jobs, Local(folder.parent)
        for job in jobs:
            self._write(job, {**self._note(job), "runner": os.getpid()})

    def run(self) -> None:
        """Run all; what waits for a job that did not end well is cancelled."""
        for job in self.jobs:
            note = self._note(job)
            if not self._all_done(job, note["after"]):
                self._end(job, list(note["tasks"]), "cancelled", None)
                continue
            for task in note["tasks"]:
                self._task(job, task)

    def _all_done(self, job: str, others: Sequence[str]) -> bool:
        """Whether the jobs that this one waits for ended well; another runner may be at work on them."""
        while not self._cancelled(job):
            states = [one.state for tasks in self._known.states(dict.fromkeys(others, 0)).values() for one in tasks]
            if not ACTIVE.intersection(states):
                return all(state == "done" for state in states)
            time.sleep(_LOOK)
        return False

    def _task(self, job: str, task: str) -> None:
        code = PUT_BACK
        while code == PUT_BACK and not self._cancelled(job):
            code = self._once(job, task)
        if self._cancelled(job):
            self._end(job, [task], "cancelled", None if code == PUT_BACK else code)
        else:
            self._end(job, [task], "failed" if code else "done", code)

    def _once(self, job: str, task: str) -> int:
        note = self._note(job)
        process = subprocess.Popen(
            ["bash", note["script"]],
            env={**os.environ, "XLLMS_JOB": job, "XLLMS_TASK": task},
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        note["tasks"][task] = {"state": "running", "code": None}
        self._write(job, {**note, "group": process.pid})
        if self._cancelled(job):  # between the look before and the note of its group
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
        for wait, warning in self._patience(note):
            try:
                return _code(process.wait(wait))
            except subprocess.TimeoutExpired:
                with contextlib.suppress(ProcessLookupError):
                    # A warning is for the script alone, as a scheduler gives it.
                    os.kill(process.pid, warning) if warning == signal.SIGUSR1 else os.killpg(process.pid, warning)
        return _code(process.wait())

    @staticmethod
    def _patience(note: dict[str, Any]) -> Iterator[tuple[float | None, signal.Signals]]:
        """Seconds to wait, and the signal that follows; a job without a wall time is waited for."""
        if not note["minutes"]:
            return
        yield 60.0 * (note["minutes"] - note["warning"]), signal.SIGUSR1
        yield 60.0 * note["warning"], signal.SIGTERM
        yield _GRACE, signal.SIGKILL

    def _cancelled(self, job: str) -> bool:
        return (self.folder / f"{job}.cancel").exists()

    def _end(self, job: str, tasks: list[str], state: str, code: int | None) -> None:
        note = self._note(job)
        note["tasks"].update({task: {"state": state, "code": code} for task in tasks})
        self._write(job, {**note, "ended": time.time()})

    def _note(self, job: str) -> dict[str, Any]:
        note: dict[str, Any] = read_json(self.folder / f"{job}.json")
        return note

    def _write(self, job: str, note: dict[str, Any]) -> None:
        write_atomic(self.folder / f"{job}.json", json.dumps(note))


def _code(returned: int) -> int:
    return returned if returned >= 0 else 128 - returned


if __name__ == "__main__":
    Runner(Path(sys.argv[1]), sys.argv[2:]).run()
