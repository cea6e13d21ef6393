"""A run's stages submitted, all or none, and what became of them: `cluster/` of the run's folder.

jobs.json        the jobs and the site they were submitted to; written before the first may start
recipe-1.yaml    the recipe as it was first submitted; what is edited later does not reach the jobs
scripts/ logs/ ended/ starts/ signals/ cancelled/     see `script`
"""

import json
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from xllms.checking import check
from xllms.cluster.calling import Refused
from xllms.cluster.job import ACTIVE, JobSpec, TaskState, worst
from xllms.cluster.scheduler import Scheduler, scheduler_of
from xllms.cluster.script import Place, render
from xllms.cluster.site import JOBS, Site
from xllms.cluster.stages import job_specs
from xllms.errors import InputError, XllmsError
from xllms.manifest import MANIFEST, read_json, write_atomic
from xllms.recipe import Recipe

FOLDER = "cluster"
_JOBS = "jobs.json"
_ALWAYS = frozenset({"evaluation", "report"})  # a manifest does not say that nothing is left to measure
_MARKS = ("signals", "starts", "ended", "cancelled")
_PATIENCE = 30  # questions that a scheduler may leave unanswered in a row while it is waited for


@dataclass(frozen=True)
class Job:
    """A job that was submitted.

    Attributes:
        name: of its stage.
        id: that the scheduler gave it.
        tasks: of an array; 0: none.
        at: seconds since 1970 when it was submitted.
    """

    name: str
    id: str
    tasks: int
    at: float


class Submission:
    """What of a run was submitted, and where.

    Args:
        run: the run's folder.

    Raises:
        InputError: nothing of it was.
    """

    def __init__(self, run: Path) -> None:
        self.run, self.folder = run, (run / FOLDER).resolve()
        path = self.folder / _JOBS
        if not path.exists():
            raise InputError(f"{run}: nothing of this run was submitted; `xllms submit RECIPE --cluster NAME` does it")
        value = read_json(path)
        try:
            self.cluster: str = value["cluster"]
            self.site = Site.model_validate(value["site"])
            self.jobs = [Job(**job) for job in value["jobs"]]
        except (TypeError, KeyError, ValueError):
            raise InputError(f"{path}: not a note of submitted jobs; remove it and submit again") from None
        self.scheduler = scheduler_of(self.site, self.folder)

    def states(self, jobs: Sequence[Job] = ()) -> dict[str, list[TaskState]]:
        """Name of each job -> its tasks' states: the scheduler's word, else what the job itself left behind."""
        asked = {job.id: job.tasks for job in jobs or self.jobs}
        said = self.scheduler.states(asked)
        found = {job.name: said.get(job.id) or self._left(job) for job in jobs or self.jobs}
        return {name: self._as_cancelled(name, tasks) for name, tasks in found.items()}

    def _as_cancelled(self, name: str, tasks: list[TaskState]) -> list[TaskState]:
        """What `cancel` ended is cancelled, whatever code that left."""
        if not (self.folder / "cancelled" / name).exists():
            return tasks
        return [replace(one, state="cancelled") if one.state == "failed" else one for one in tasks]

    def active(self) -> dict[str, Job]:
        """Jobs that have not ended, by name."""
        states = self.states()
        return {job.name: job for job in self.jobs if any(one.state in ACTIVE for one in states[job.name])}

    def find(self, stage: str) -> Job:
        """The job of a stage.

        Raises:
            InputError: it was not submitted.
        """
        found = next((job for job in self.jobs if job.name == stage), None)
        if found is None:
            raise InputError(f"--stage {stage}: not submitted; there are {', '.join(job.name for job in self.jobs)}")
        return found

    def cancel(self, stages: Sequence[str] = ()) -> list[Job]:
        """Cancel what has not ended; jobs that wait for a cancelled one are cancelled with it.

        Returns:
            What was cancelled.
        """
        active = self.active()
        chosen = [self.find(stage) for stage in stages] or list(self.jobs)
        first = min((JOBS.index(job.name) for job in chosen), default=0)
        ended = [job for job in active.values() if job in chosen or JOBS.index(job.name) > first]
        for job in ended:  # before the scheduler's signal: what is cancelled must not put itself back
            write_atomic(self.folder / "cancelled" / job.name, "")
        if ended:
            self.scheduler.cancel([job.id for job in ended])
        return ended

    def wait(self, seconds: float = 10) -> int:
        """Wait until all jobs have ended; the exit code of the first that did not end well, else 0.

        Raises:
            Refused: the scheduler has not answered for long.
        """
        unanswered = 0
        while True:
            try:
                states = self.states()
                unanswered = 0
                if not any(one.state in ACTIVE for tasks in states.values() for one in tasks):
                    break
            except Refused:
                unanswered += 1
                if unanswered >= _PATIENCE:
                    raise
            time.sleep(seconds)
        for tasks in states.values():
            if worst(tasks) != "done":
                codes = [one.exit_code for one in tasks if one.exit_code]
                return codes[0] if codes else 1
        return 0

    def _left(self, job: Job) -> list[TaskState]:
        found = []
        for task in range(1, job.tasks + 1) if job.tasks else [0]:
            path = self.folder / "ended" / (f"{job.name}-{task}" if task else job.name)
            with suppress(OSError, ValueError):
                number, code = path.read_text(encoding="utf-8").split()
                if number == job.id:
                    found.append(TaskState(task, "failed" if int(code) else "done", int(code), "as the job says"))
        return found or [TaskState(0, "unknown", None, "the scheduler has forgotten it")]


def planned(recipe: Recipe, site: Site, stages: Sequence[str], scheduler: Scheduler, place: Place) -> Iterator[str]:
    """The scripts as they would be submitted, with names in place of the ids that are not known yet."""
    specs = _open(recipe, job_specs(recipe, site, place.recipe, stages or JOBS))
    if not (place.folder / _JOBS).exists():  # else only the scheduler knows what is under way
        _waits_for(recipe, specs, {})
    for spec in specs:
        yield render(spec, site, place, scheduler, tuple(f"ID_OF_{name}" for name in spec.after))


def place_of(run: Path, token: str = "TOKEN") -> Place:
    """Where the files of a run's submission go."""
    return Place((run / FOLDER).resolve(), Path.cwd(), token)


def submit(recipe: Recipe, site: Site, cluster: str, stages: Sequence[str] = ()) -> Submission:
    """Submit stages as jobs that wait for each other: all of them, or none.

    Args:
        recipe: what to run.
        site: where.
        cluster: name of the site, for `jobs.json`.
        stages: some of `JOBS`; none: all. Those at the front that are done are left out.

    Raises:
        InputError: wrong settings, a stage that is submitted already, or one whose data nobody makes.
        Refused: the scheduler's own words; what it had accepted is cancelled.
    """
    check(recipe)
    run = recipe.output
    before = Submission(run) if (run / FOLDER / _JOBS).exists() else None
    active = before.active() if before else {}
    if before and active and before.cluster != cluster:
        raise InputError(f"{run} has jobs on `{before.cluster}`; wait for them, or `xllms cancel {run}` first")
    place = place_of(run, secrets.token_hex(8))
    if active:  # their scripts look for the token that is there
        try:
            token = (place.folder / "token").read_text(encoding="utf-8").strip()
        except OSError as error:
            raise InputError(f"{place.folder / 'token'}: {error.strerror}; `xllms cancel {run}`, then submit") from None
        taken = len(list(place.folder.glob("recipe-*.yaml")))
        place = Place(place.folder, place.work, token, taken + 1)
    specs = _open(recipe, job_specs(recipe, site, place.recipe, stages or JOBS))
    if not specs:
        raise InputError(f"{run}: these stages are done; nothing to submit")
    for spec in specs:
        if spec.name in active:
            raise InputError(
                f"{spec.name} of {run} is submitted already (job {active[spec.name].id}); "
                f"`xllms cancel {run} --stage {spec.name}` first"
            )
    waits = _waits_for(recipe, specs, active)
    kept = _still_of_use(before, {spec.name for spec in specs}) if before and before.cluster == cluster else []
    _write_files(recipe, specs, place)
    scheduler = scheduler_of(site, place.folder)
    jobs: list[Job] = []
    try:
        _accept(jobs, specs, site, place, scheduler, waits)
        noted = sorted([*kept, *jobs], key=lambda job: JOBS.index(job.name))
        value = {"cluster": cluster, "site": site.model_dump(mode="json"), "jobs": [vars(job) for job in noted]}
        write_atomic(place.folder / _JOBS, json.dumps(value, indent=1) + "\n")
        scheduler.release([job.id for job in jobs])
    except BaseException as error:  # Ctrl-C, too, leaves nothing half-submitted
        left = _take_back(scheduler, jobs)
        if isinstance(error, XllmsError):
            more = f"; and could not be taken back: job {', '.join(left)}" if left else "; nothing was submitted"
            raise type(error)(f"{error}{more}") from None
        raise
    return Submission(run)


def _still_of_use(before: Submission, new: set[str]) -> list[Job]:
    """Jobs of earlier submissions that are under way or ended well; one that failed is history now."""
    states = before.states()
    useful = {name for name, tasks in states.items() if worst(tasks) == "done" or worst(tasks) in ACTIVE}
    return [job for job in before.jobs if job.name in useful - new]


def _open(recipe: Recipe, specs: Sequence[JobSpec]) -> list[JobSpec]:
    """Without the stages at the front that are done."""
    found: list[JobSpec] = []
    for spec in specs:
        done = (recipe.output / spec.name / MANIFEST).exists() and spec.name not in _ALWAYS
        if found or not done:
            found.append(spec)
    if found:
        first = found[0]
        found[0] = JobSpec(**{**vars(first), "after": ()})
    return found


def _waits_for(recipe: Recipe, specs: Sequence[JobSpec], active: Mapping[str, Job]) -> dict[str, tuple[str, ...]]:
    """Name of a job -> ids of jobs submitted earlier that it waits for.

    Raises:
        InputError: what a stage needs is neither done nor under way nor in this submission.
    """
    names = {spec.name for spec in specs}
    found: dict[str, tuple[str, ...]] = {}
    for spec in specs:
        at = JOBS.index(spec.name)
        earlier = [active[name].id for name in JOBS[:at] if name in active]
        needed = JOBS[at - 1] if at else ""
        there = not at or needed in names or needed in active or (recipe.output / needed / MANIFEST).exists()
        if not (there or spec.name == "evaluation" or (spec.name == "dpo" and recipe.dpo.data)):
            raise InputError(f"{spec.name} needs {needed}, which is neither done nor submitted; add --stage {needed}")
        if earlier and not spec.after:
            found[spec.name] = (earlier[-1],)
        elif needed in active:
            found[spec.name] = (active[needed].id,)
    return found


def _write_files(recipe: Recipe, specs: Sequence[JobSpec], place: Place) -> None:
    folder = place.folder
    for mark in _MARKS:
        for spec in specs:
            for path in (folder / mark).glob(f"{spec.name}*"):
                path.unlink(missing_ok=True)
    (folder / "logs").mkdir(parents=True, exist_ok=True)
    write_atomic(folder / "token", place.token + "\n")
    dumped = yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    write_atomic(place.recipe, dumped)


def _accept(
    jobs: list[Job],
    specs: Sequence[JobSpec],
    site: Site,
    place: Place,
    scheduler: Scheduler,
    waits: Mapping[str, tuple[str, ...]],
) -> None:
    """Submit all jobs, held; those that were accepted are in `jobs`, also where one is refused."""
    for spec in specs:
        ids = {job.name: job.id for job in jobs}
        script = place.folder / "scripts" / f"{spec.name}.sh"
        after = (*(ids[name] for name in spec.after), *waits.get(spec.name, ()))
        write_atomic(script, render(spec, site, place, scheduler, after))
        script.chmod(0o755)
        jobs.append(Job(spec.name, scheduler.submit(script), spec.tasks, round(time.time(), 1)))


def _take_back(scheduler: Scheduler, jobs: Sequence[Job]) -> list[str]:
    """Cancel held jobs; the ids of those that could not be."""
    try:
        if jobs:
            scheduler.cancel([job.id for job in jobs])
    except XllmsError:
        return [job.id for job in jobs]
    return []
