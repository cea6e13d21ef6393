"""A site: what one cluster wants to know of a job and a recipe does not say. One `clusters.yaml` holds a user's.

It is taken from where `XLLMS_CLUSTERS` points, else from this folder, else from `~/.config/xllms/`. `local` is always
there.
"""

import difflib
import os
import re
import shlex
import sys
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from xllms.errors import InputError
from xllms.recipe import Settings
from xllms.recipe_file import explain, read_mapping

FILE = "clusters.yaml"
VARIABLE = "XLLMS_CLUSTERS"
JOBS = ("instructions", "sft", "feedback", "dpo", "evaluation", "report")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt])i?b?", re.IGNORECASE)
_UNITS = {"k": 1 / 1024, "m": 1.0, "g": 1024.0, "t": 1024.0**2}
_CLOCK = re.compile(r"(?:(\d+)-)?(\d+):(\d\d)(?::(\d\d))?")
_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*(m|min|h|d)")
_MINUTES = {"m": 1, "min": 1, "h": 60, "d": 1440}


def _minutes(value: object) -> object:
    """`90m`, `12h`, `2d`, `12:30` (hours and minutes), `1-12:00:00`; a number is minutes."""
    text = str(value).strip().lower()
    if found := _SPAN.fullmatch(text):
        return round(float(found[1]) * _MINUTES[found[2]])
    if found := _CLOCK.fullmatch(text):
        days, hours, minutes = (int(found[at] or 0) for at in (1, 2, 3))
        return days * 1440 + hours * 60 + minutes
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError("a time such as 90m, 12h, 2d or '12:30' (in quotes: YAML takes 12:30 for a number)")


def _megabytes(value: object) -> object:
    """`64G`, `512 MB`; a number is MiB."""
    if found := _SIZE.fullmatch(str(value).strip()):
        return round(float(found[1]) * _UNITS[found[2].lower()])
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError("a size such as 64G or 512M")


Minutes = Annotated[int, BeforeValidator(_minutes), Field(ge=1)]
Megabytes = Annotated[int, BeforeValidator(_megabytes), Field(ge=1)]


class JobNeeds(Settings):
    """What a job asks for; what is left out for a stage is as the site has it."""

    queue: str | None = Field(None, description="queue (LSF), partition (Slurm)")
    gpus: int | None = Field(None, ge=0, description="over all nodes; as many processes train")
    cpus: int | None = Field(None, ge=1, description="on each node")
    memory: Megabytes | None = Field(None, description="on each node, such as 64G")
    time: Minutes | None = Field(None, description="wall time, such as 12h")
    processes: int | None = Field(None, ge=1, description="that train together without GPUs, over all nodes")
    nodes: int | None = Field(None, ge=1, description="none: as many as the GPUs take")
    options: tuple[str, ...] = Field((), description="further lines for the scheduler, such as --constraint=a100")


class Site(JobNeeds):
    """One cluster."""

    scheduler: Literal["slurm", "lsf", "local"]
    account: str | None = Field(None, description="account (Slurm), project (LSF)")
    gpus_per_node: int = Field(0, ge=0, description="GPUs of a node")
    gpu_type: str | None = Field(None, description="as the scheduler calls it, such as a100")
    modules: tuple[str, ...] = Field((), description="of `module load`")
    environment: dict[str, str] = Field({}, description="variables of every job, such as HF_HOME")
    setup: tuple[str, ...] = Field((), description="shell lines before the work, such as `source env/bin/activate`")
    python: str | None = Field(None, description="which Python; none: this one, or the container's")
    container: str | None = Field(None, description="put before the command: apptainer exec --nv xllms.sif")
    warning: Minutes = Field(2, description="before the wall time, in minutes, a job is told to stop and is put back")
    requeues: int = Field(20, ge=0, description="starts of one job beyond the first")
    parts: int = Field(8, ge=1, description="tasks that the evaluation is dealt to")
    at_once: int | None = Field(None, ge=1, description="of these tasks; none: all")
    memory_unit: Literal["KB", "MB", "GB"] = Field("MB", description="LSF_UNIT_FOR_LIMITS of the site (LSF)")
    stages: dict[Literal["instructions", "sft", "feedback", "dpo", "evaluation", "report"], JobNeeds] = Field(
        {}, description="what is different for a stage"
    )

    def needs(self, job: str) -> JobNeeds:
        """What a stage's job asks for, with the site's own where the stage says nothing."""
        own = self.stages.get(job, JobNeeds())  # type: ignore[call-overload]
        general = {name: getattr(self, name) for name in JobNeeds.model_fields}
        said = {name: getattr(own, name) for name in own.model_fields_set}
        return JobNeeds(**{**general, **said})

    @property
    def interpreter(self) -> tuple[str, ...]:
        """How Python is started in a job."""
        default = "python3" if self.container else sys.executable
        return (*shlex.split(self.container or ""), *shlex.split(self.python or default))

    @model_validator(mode="after")
    def _jobs_can_be(self) -> "Site":
        for job in JOBS:
            needs = self.needs(job)
            gpus, per_node = needs.gpus or 0, self.gpus_per_node
            if gpus and self.scheduler != "local" and not per_node:
                raise ValueError(f"{job}: {gpus} GPUs, but gpus_per_node is 0")
            if gpus and per_node and gpus > per_node and gpus % per_node:
                raise ValueError(f"{job}: {gpus} GPUs do not fill nodes of {per_node}; take a multiple, or fewer")
            if needs.time is not None and self.warning >= needs.time:
                raise ValueError(
                    f"{job}: time: {needs.time} minutes, and a job is told to stop {self.warning} minutes before "
                    "(warning); make time longer"
                )
        return self


def find_site(name: str, path: Path | None = None) -> Site:
    """The site of that name.

    Args:
        name: a key of `clusters.yaml`, or `local`.
        path: the file; none: the first of the places that has one.

    Raises:
        InputError: no such file or site, or a bad key, with file and line.
    """
    path = path or _place()
    if path is None:
        if name == "local":
            return Site(scheduler="local")
        raise InputError(
            f"no {FILE} here, in ${VARIABLE} or in ~/.config/xllms/: `{name}` is unknown; docs/cluster.md shows one, "
            "and `--cluster local` needs none"
        )
    node, value = read_mapping(path, "a file of clusters", "my-cluster:", "docs/cluster.md shows one")
    if name == "local" and name not in value:
        return Site(scheduler="local")
    if name not in value:
        near = difflib.get_close_matches(name, map(str, value), n=1, cutoff=0.5)
        hint = f"did you mean `{near[0]}`?" if near else f"there are {', '.join(map(str, value)) or 'none'}, local"
        raise InputError(f"{path}: no cluster `{name}`; {hint}")
    if not isinstance(value[name], dict):
        raise InputError(f"{path}: `{name}` is a mapping such as `scheduler: slurm`")
    below = next((child for key, child in getattr(node, "value", ()) if key.value == name), None)
    try:
        return Site.model_validate(value[name])
    except ValidationError as error:
        raise InputError(explain(error, below, path, {}, Site)) from None


def _place() -> Path | None:
    given = os.environ.get(VARIABLE)
    if given:
        return Path(given)
    places = (Path(FILE), Path.home() / ".config" / "xllms" / FILE)
    return next((place for place in places if place.is_file()), None)
