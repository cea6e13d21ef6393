"""This machine as a scheduler: jobs one after the other, by a runner that goes on when the terminal is closed.

It reads `#XLLMS` lines as the others read theirs, honours dependencies, arrays, wall times and code 75, and keeps what
it knows of each job in `local/<id>.json`.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from xllms.cluster.calling import Refused
from xllms.cluster.job import ACTIVE, JobSpec, TaskState
from xllms.cluster.script import PUT_BACK, Place
from xllms.cluster.site import Site
from xllms.manifest import read_json, write_atomic

_LINE = re.compile(r"^#XLLMS (\w+)=(.*)$", re.MULTILINE)


class Local:
    """This machine.

    Args:
        folder: `cluster/` of the run.
    """

    task = '"$XLLMS_TASK"'
    job = '"$XLLMS_JOB"'
    nodes = "head=localhost hosts=localhost"
    each_node = ""
    on_head = "true"
    put_back = f"exit {PUT_BACK}"
    own_log = True

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "local"

    def header(self, spec: JobSpec, site: Site, place: Place, after: tuple[str, ...]) -> list[str]:
        """The `#XLLMS` lines."""
        minutes = spec.resources.minutes
        lines = {"after": " ".join(after), "tasks": str(spec.tasks), "minutes": str(minutes or 0)}
        return [f"#XLLMS {key}={value}" for key, value in {**lines, "warning": str(site.warning)}.items()]

    def submit(self, script: Path) -> str:
        """Note a job, held until `release`; its id."""
        said = dict(_LINE.findall(script.read_text(encoding="utf-8")))
        number = 1 + max((int(path.stem) for path in self.folder.glob("*.json")), default=0)
        tasks = range(1, int(said["tasks"]) + 1) or [0]
        job = {
            "script": str(script),
            "after": said["after"].split(),
            "minutes": int(said["minutes"]),
            "warning": int(said["warning"]),
            "tasks": {str(task): {"state": "held", "code": None} for task in tasks},
            "runner": None,
        }
        write_atomic(self.folder / f"{number}.json", json.dumps(job))
        return str(number)

    def release(self, jobs: Sequence[str]) -> None:
        """Start a runner for held jobs."""
        for job in jobs:
            note = self._note(job)
            note["tasks"] = {task: {"state": "waiting", "code": None} for task in note["tasks"]}
            write_atomic(self.folder / f"{job}.json", json.dumps(note))
        log = (self.folder / "runner.log").open("ab")
        with log:
            subprocess.Popen(
                [sys.executable, "-m", "xllms.cluster.local_runner", str(self.folder), *jobs],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def cancel(self, jobs: Sequence[str]) -> None:
        """End jobs; those that have ended are passed over."""
        for job in jobs:
            write_atomic(self.folder / f"{job}.cancel", "")
            group = self._note(job).get("group")
            running = any(task["state"] == "running" for task in self._note(job)["tasks"].values())
            if group and running:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(group, signal.SIGTERM)

    def states(self, jobs: Mapping[str, int]) -> dict[str, list[TaskState]]:
        """What is known of jobs.

        Args:
            jobs: id -> number of tasks, 0 for no array.
        """
        found = {}
        for job in jobs:
            if not (self.folder / f"{job}.json").exists():
                continue
            note = self._note(job)
            gone = note["runner"] is not None and not _alive(note["runner"])
            found[job] = [_state(int(task), one, gone) for task, one in note["tasks"].items()]
        return found

    def _note(self, job: str) -> dict[str, Any]:
        note = read_json(self.folder / f"{job}.json")
        if not isinstance(note, dict):
            raise Refused(f"{self.folder / job}.json: not a note of a job; submit again")
        return note


def _state(task: int, note: Mapping[str, Any], gone: bool) -> TaskState:
    if gone and note["state"] in ACTIVE:
        return TaskState(task, "failed", None, "the runner is gone (the machine was restarted?); submit again")
    return TaskState(task, note["state"], note["code"])


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
