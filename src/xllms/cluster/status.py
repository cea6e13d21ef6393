"""`xllms status`: each job as the scheduler has it beside each stage as its files have it; and what the jobs said."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from xllms.cluster.job import TaskState, worst
from xllms.cluster.submission import Job, Submission
from xllms.errors import InputError
from xllms.manifest import MANIFEST, STARTED

_COLUMNS = ("job", "id", "state", "exit", "stage", "log")


def status_rows(submission: Submission) -> list[dict[str, str]]:
    """One row per job: name, id, state, exit code, what the stage's folder says, log."""
    states = submission.states()
    return [_row(submission, job, states[job.name]) for job in submission.jobs]


def status_table(submission: Submission) -> str:
    """The rows as a table."""
    rows = [dict(zip(_COLUMNS, _COLUMNS, strict=True)), *status_rows(submission)]
    width = {column: max(len(row[column]) for row in rows) for column in _COLUMNS}
    lines = ("  ".join(row[column].ljust(width[column]) for column in _COLUMNS).rstrip() for row in rows)
    return f"{submission.run} on {submission.cluster}\n" + "\n".join(lines)


def _row(submission: Submission, job: Job, tasks: Sequence[TaskState]) -> dict[str, str]:
    state = worst(tasks)
    shown: str = state
    if job.tasks:
        counts = Counter(one.state for one in tasks)
        shown = ", ".join(f"{number} {name}" for name, number in counts.most_common())
    else:
        said = tasks[0].said
        shown += f" ({said})" if said and state in ("waiting", "cancelled", "unknown", "failed") else ""
    codes = sorted({one.exit_code for one in tasks if one.exit_code is not None and one.state not in ("running",)})
    log = log_files(submission, job)
    return {
        "job": job.name,
        "id": job.id,
        "state": shown,
        "exit": ",".join(map(str, codes)),
        "stage": _stage(submission.run / job.name),
        "log": str(log[0].relative_to(submission.folder.parent)) if log else "",
    }


def _stage(folder: Path) -> str:
    """What the stage's own folder says."""
    if (folder / MANIFEST).exists() or (folder / "report.html").exists():
        return "done"
    if not (folder / STARTED).exists():
        return "not begun"
    checkpoints = sorted(int(path.parent.name.rpartition("-")[2]) for path in folder.glob("checkpoints/*/complete"))
    return f"at step {checkpoints[-1]}" if checkpoints else "begun"


def log_files(submission: Submission, job: Job, task: int | None = None) -> list[Path]:
    """Where a job, or one task of its array, has written; those that are there."""
    logs = submission.folder / "logs"
    if task is not None and not 1 <= task <= job.tasks:
        raise InputError(f"--task {task}: {job.name} has {f'tasks 1 to {job.tasks}' if job.tasks else 'no tasks'}")
    numbers = [task] if task is not None else range(1, job.tasks + 1)
    names = [f"{job.name}-{number}.log" for number in numbers] if job.tasks else [f"{job.name}.log"]
    # What LSF says of a job that never came to its own log.
    own = [path if (path := logs / name).exists() else path.with_suffix(".lsf.log") for name in names]
    return [path for path in own if path.exists()]


def log_lines(submission: Submission, stages: Sequence[str], task: int | None, lines: int) -> Iterator[str]:
    """The last lines of each job's log, under its name."""
    jobs = [submission.find(stage) for stage in stages] or submission.jobs
    found = [path for job in jobs for path in log_files(submission, job, task)]
    if not found:
        raise InputError(f"{submission.run}: no job has written anything yet; `xllms status` shows where they stand")
    for path in found:
        text = path.read_text(encoding="utf-8", errors="replace").split("\n")
        shown = [line.rpartition("\r")[2] for line in text if line.strip()][-lines:]
        yield f"== {path.name}"
        yield from shown


def status_json(submission: Submission) -> str:
    """The rows as JSON."""
    return json.dumps({"cluster": submission.cluster, "jobs": status_rows(submission)}, indent=1)
