"""LSF: `#BSUB` lines, and `bsub`, `bjobs`, `bkill`, `bresume`.

Written after IBM's documentation of LSF 10.1; LSF is not free, so the tests run these lines through a stand-in that
reads them and hands the work to a real Slurm. A job that ends with code 75 is put back by LSF itself (`-Q`), one whose
host died is started again (`-r`), and one whose dependency failed is ended (`-ti`).
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from xllms.cluster.calling import Refused, call
from xllms.cluster.job import JobSpec, State, TaskState
from xllms.cluster.script import PUT_BACK, Place
from xllms.cluster.site import Site

_NAME = "LSF"
_STATES: dict[str, State] = {
    "PEND": "waiting",
    "WAIT": "waiting",
    "PSUSP": "held",
    "USUSP": "waiting",
    "SSUSP": "waiting",
    "RUN": "running",
    "PROV": "running",
    "DONE": "done",
    "EXIT": "failed",
    "ZOMBI": "failed",
}
_BYTES = {"KB": 1024.0, "MB": 1.0, "GB": 1 / 1024}
_SUBMITTED = re.compile(r"Job <(\d+)>")
# By bkill, or because the job it waited for failed; a memory or run limit is a failure.
_CANCELLED = ("TERM_OWNER", "TERM_FORCE_OWNER", "TERM_ADMIN", "TERM_FORCE_ADMIN", "TERM_ORPHAN")


class Lsf:
    """A cluster under LSF, through its commands on this machine."""

    task = '"$LSB_JOBINDEX"'
    job = '"$LSB_JOBID"'
    nodes = 'hosts=$(awk \'!seen[$0]++\' "$LSB_DJOB_HOSTFILE" | paste -sd " " -); head=${hosts%% *}'
    each_node = 'blaunch -z "$hosts" -no-shell'
    on_head = '[ "$(hostname -s)" = "${head%%.*}" ]'
    put_back = f"exit {PUT_BACK}"
    own_log = True  # LSF does not save the output of a run that is put back

    def header(self, spec: JobSpec, site: Site, place: Place, after: tuple[str, ...]) -> list[str]:
        """The `#BSUB` lines."""
        asked = spec.resources
        slots = asked.cpus or 1
        name = place.job_name(spec.name)
        if spec.tasks:
            name += f"[1-{spec.tasks}]" + (f"%{spec.at_once}" if spec.at_once else "")
        span = f"span[ptile={slots}]" if asked.nodes > 1 else "span[hosts=1]"
        memory = f" rusage[mem={_memory(asked.memory, site)}/host]" if asked.memory else ""
        gpu = f"num={asked.gpus}:mode=exclusive_process" + (f":gmodel={site.gpu_type}" if site.gpu_type else "")
        log = place.log(spec.name, "%I" if spec.tasks else "").with_suffix(".lsf.log")
        lines = [
            f'-J "{name}"',
            f"-q {asked.queue}" if asked.queue else "",
            f"-P {site.account}" if site.account else "",
            f"-n {asked.nodes * slots}",
            f'-R "{span}{memory}"',
            f'-gpu "{gpu}"' if asked.gpus else "",
            f"-W {asked.minutes // 60:02}:{asked.minutes % 60:02}" if asked.minutes else "",
            "-wa USR1",
            f"-wt {site.warning}",
            "-r",
            f'-Q "{PUT_BACK}"',
            f'-o "{log}"',
            '-w "' + " && ".join(f"done({job})" for job in after) + '"' if after else "",
            "-ti" if after else "",
        ]
        return [f"#BSUB {line}" for line in (*filter(None, lines), *asked.options)]

    def submit(self, script: Path) -> str:
        """Submit a script on standard input, held until `release`; its id.

        Raises:
            InputError: no LSF here.
            Refused: in LSF's words.
        """
        said = call(["bsub", "-H"], _NAME, script.read_text(encoding="utf-8"))
        found = _SUBMITTED.search(said)
        if found is None:
            raise Refused(f"{_NAME}: bsub gave no job id: {said.strip()[:200]}")
        return found[1]

    def release(self, jobs: Sequence[str]) -> None:
        """Let held jobs go."""
        call(["bresume", *jobs], _NAME)

    def cancel(self, jobs: Sequence[str]) -> None:
        """Kill jobs; those that have ended are passed over."""
        for job in jobs:  # of several at once LSF gives one answer
            try:
                call(["bkill", job], _NAME)
            except Refused as error:
                if "already finished" not in str(error):
                    raise

    def states(self, jobs: Mapping[str, int]) -> dict[str, list[TaskState]]:
        """What LSF knows of jobs; one that it has forgotten is not in it.

        Args:
            jobs: id -> number of tasks, 0 for no array.
        """
        found = {job: sorted(self._tasks(job), key=lambda one: one.task) for job in jobs}
        return {job: tasks for job, tasks in found.items() if tasks}

    def _tasks(self, job: str) -> list[TaskState]:
        fields = "jobid jobindex stat exit_code exit_reason"
        try:
            said = call(["bjobs", "-a", "-o", fields, "-json", job], _NAME)
        except Refused as error:
            if "not found" in str(error):
                return []
            raise
        try:
            return [_task(row) for row in json.loads(said)["RECORDS"] if "STAT" in row]  # else an ERROR: forgotten
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Refused(f"{_NAME}: bjobs did not answer in JSON ({error!r}); LSF 10.1 and newer do") from None


def _task(row: Mapping[str, str]) -> TaskState:
    state = _STATES.get(row["STAT"], "unknown")
    code = int(row["EXIT_CODE"]) if row.get("EXIT_CODE", "").isdigit() else (0 if state == "done" else None)
    reason = row.get("EXIT_REASON", "").strip()
    if state == "failed" and reason.startswith(_CANCELLED):
        state = "cancelled"
    shown = f"{row['STAT']}: {reason}" if reason and reason != "-" else row["STAT"]
    return TaskState(int(row.get("JOBINDEX") or 0), state, code, shown)


def _memory(megabytes: int, site: Site) -> int:
    return max(1, round(megabytes * _BYTES[site.memory_unit]))
