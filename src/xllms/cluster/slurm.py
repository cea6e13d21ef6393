"""Slurm: `#SBATCH` lines, and `sbatch`, `squeue`, `scontrol`, `scancel`.

A finished job is asked of `scontrol`, which knows it for some minutes after its end, then of `sacct`, which needs a
database that not every site has. A job whose dependency failed is cancelled, not left waiting for ever.
"""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from xllms.cluster.calling import Refused, call
from xllms.cluster.job import JobSpec, State, TaskState
from xllms.cluster.script import Place
from xllms.cluster.site import Site
from xllms.errors import InputError

_NAME = "Slurm"
_STATES: dict[str, State] = {
    "PENDING": "waiting",
    "REQUEUED": "waiting",
    "REQUEUE_HOLD": "held",
    "SUSPENDED": "waiting",
    "PREEMPTED": "waiting",
    "CONFIGURING": "running",
    "RUNNING": "running",
    "COMPLETING": "running",
    "STAGE_OUT": "running",
    "COMPLETED": "done",
    "CANCELLED": "cancelled",
    "REVOKED": "cancelled",
    "FAILED": "failed",
    "TIMEOUT": "failed",
    "NODE_FAIL": "failed",
    "BOOT_FAIL": "failed",
    "OUT_OF_MEMORY": "failed",
    "DEADLINE": "failed",
}
_TASKS = re.compile(r"(\d+)(?:-(\d+))?")


class Slurm:
    """A cluster under Slurm, through its commands on this machine."""

    task = '"$SLURM_ARRAY_TASK_ID"'
    job = '"${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}"'
    # srun does not take --cpus-per-task from its job since 22.05.
    nodes = (
        'head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)\n'
        'export SRUN_CPUS_PER_TASK="${SLURM_CPUS_PER_TASK:-1}"'
    )
    each_node = "srun --nodes NODES --ntasks NODES --ntasks-per-node 1"
    on_head = '[ "$SLURM_NODEID" = 0 ]'
    own_log = False
    # A cancelled job must not come back; and one that Slurm itself puts back needs no help.
    put_back = (
        'if scontrol show job --oneliner "$SLURM_JOB_ID" | grep -q " JobState=RUNNING "; then\n'
        '  scontrol requeue "$SLURM_JOB_ID" && exit 75\n'
        "fi"
    )

    def header(self, spec: JobSpec, site: Site, place: Place, after: tuple[str, ...]) -> list[str]:
        """The `#SBATCH` lines."""
        asked = spec.resources
        lines = {
            "job-name": place.job_name(spec.name),
            "partition": asked.queue,
            "account": site.account,
            "nodes": str(asked.nodes),
            "ntasks-per-node": "1",
            "cpus-per-task": asked.cpus and str(asked.cpus),
            "mem": asked.memory and f"{asked.memory}M",
            "gres": asked.gpus and f"gpu:{site.gpu_type + ':' if site.gpu_type else ''}{asked.gpus}",
            "time": asked.minutes and f"{asked.minutes // 60:02}:{asked.minutes % 60:02}:00",
            "signal": f"B:USR1@{site.warning * 60}",
            "requeue": "",
            "open-mode": "append",
            "output": _quoted(place.log(spec.name, "\0" if spec.tasks else "")),
            "array": spec.tasks and f"1-{spec.tasks}" + (f"%{spec.at_once}" if spec.at_once else ""),
            "dependency": ",".join(f"afterok:{job}" for job in after),
            "kill-on-invalid-dep": "yes" if after else None,
        }
        flags = {"requeue"}
        shown = [f"--{key}={value}" if value else f"--{key}" for key, value in lines.items() if value or key in flags]
        return [f"#SBATCH {line}" for line in (*shown, *asked.options)]

    def submit(self, script: Path) -> str:
        """Submit a script, held until `release`; its id.

        Raises:
            InputError: no Slurm here.
            Refused: in Slurm's words.
        """
        return call(["sbatch", "--parsable", "--hold", str(script)], _NAME).strip().partition(";")[0]

    def release(self, jobs: Sequence[str]) -> None:
        """Let held jobs go."""
        call(["scontrol", "release", ",".join(jobs)], _NAME)

    def cancel(self, jobs: Sequence[str]) -> None:
        """Cancel jobs; those that have ended are passed over."""
        call(["scancel", *jobs], _NAME)

    def states(self, jobs: Mapping[str, int]) -> dict[str, list[TaskState]]:
        """What Slurm knows of jobs; one that it has forgotten is not in it.

        Args:
            jobs: id -> number of tasks, 0 for no array.
        """
        found: dict[str, list[TaskState]] = {}
        for job, tasks in jobs.items():
            states = self._shown(job, tasks)
            if not states:
                with suppress(Refused, InputError):
                    states = self._accounted(job, tasks)
            if states:
                found[job] = sorted(states, key=lambda one: one.task)
        return found

    def _shown(self, job: str, tasks: int) -> list[TaskState]:
        try:
            said = call(["scontrol", "show", "job", "--oneliner", job], _NAME)
        except Refused as error:
            if "Invalid job id" in str(error):  # forgotten; a controller that is away is something else
                return []
            raise
        found = []
        for line in said.splitlines():
            fields = dict(re.findall(r"(\S+?)=(\S*)", line))
            if "JobState" not in fields:
                continue
            code, _, signal = fields.get("ExitCode", "0:0").partition(":")
            exit_code = 128 + int(signal) if int(signal or 0) else int(code)
            state = _state(fields["JobState"], fields.get("Reason", ""))
            reason = fields.get("Reason", "None")
            said_more = fields["JobState"] if reason == "None" else f"{fields['JobState']} ({reason})"
            for task in _numbers(fields.get("ArrayTaskId", ""), tasks):
                found.append(TaskState(task, state, None if state in ("waiting", "held") else exit_code, said_more))
        return found

    def _accounted(self, job: str, tasks: int) -> list[TaskState]:
        columns = "jobid,state,exitcode"
        said = call(["sacct", "-n", "-P", "-X", "-j", job, f"--format={columns}"], _NAME)
        found = []
        for line in said.splitlines():
            name, state, code = line.split("|")
            number, _, signal = code.partition(":")
            exit_code = 128 + int(signal) if int(signal or 0) else int(number)
            for task in _numbers(name.partition("_")[2], tasks):
                found.append(TaskState(task, _state(state, ""), exit_code, state))
        return found


def _quoted(log: Path) -> str:
    """A path as `#SBATCH` lines take it, where % is Slurm's own."""
    escaped = str(log).replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("\0", "%a")
    return f'"{escaped}"'


def _state(said: str, reason: str) -> State:
    word = said.split()[0].rstrip("+")
    if word == "PENDING" and reason.startswith("JobHeld"):
        return "held"
    return _STATES.get(word, "unknown")


def _numbers(said: str, tasks: int) -> list[int]:
    """Task numbers of `3`, `[4-8%2]`, `5,7-8`; 0 where the job is no array."""
    if not tasks:
        return [0]
    return [
        number
        for first, last in _TASKS.findall(said.partition("%")[0])
        for number in range(int(first), int(last or first) + 1)
    ]
