"""What a scheduler can do for a submission, and which one a site has."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from xllms.cluster.job import TaskState
from xllms.cluster.local import Local
from xllms.cluster.lsf import Lsf
from xllms.cluster.script import Dialect
from xllms.cluster.site import Site
from xllms.cluster.slurm import Slurm


class Scheduler(Dialect, Protocol):
    """Submit, release, ask, cancel. Jobs are held until all of a submission are accepted."""

    def submit(self, script: Path) -> str:
        """Submit a script, held; its id."""
        ...

    def release(self, jobs: Sequence[str]) -> None:
        """Let held jobs go."""
        ...

    def cancel(self, jobs: Sequence[str]) -> None:
        """End jobs; those that have ended are passed over."""
        ...

    def states(self, jobs: Mapping[str, int]) -> dict[str, list[TaskState]]:
        """State of each job (id -> tasks, 0 for no array); forgotten ones are left out."""
        ...


def scheduler_of(site: Site, folder: Path) -> Scheduler:
    """The scheduler of a site; `folder` is the run's `cluster/`."""
    if site.scheduler == "slurm":
        return Slurm()
    return Lsf() if site.scheduler == "lsf" else Local(folder)
