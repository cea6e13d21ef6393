"""A recipe's stages as jobs: who waits for whom, which of them train on many GPUs, and the evaluation as an array.

    instructions ─▶ sft ─▶ feedback ─▶ dpo ─▶ evaluation [1..parts] ─▶ report

Each task of the array answers its share of benchmarks × languages; the last job scores and writes the page.
"""

from collections.abc import Sequence
from pathlib import Path

from xllms.cluster.job import TRAINING, JobSpec, Launch, Resources, resources
from xllms.cluster.site import JOBS, Site
from xllms.errors import InputError
from xllms.recipe import Recipe

_COMMANDS = {"evaluation": "evaluate"}


def job_specs(recipe: Recipe, site: Site, recipe_file: Path, stages: Sequence[str] = JOBS) -> list[JobSpec]:
    """The jobs of some stages, in order.

    Args:
        recipe: of the run.
        site: where it runs.
        recipe_file: that the jobs read; every node must see it.
        stages: some of `JOBS`; `evaluation` brings the report that scores it.

    Raises:
        InputError: an unknown stage, or GPUs that do not fit the site's nodes.
    """
    if unknown := next((name for name in stages if name not in JOBS), None):
        raise InputError(f"--stage {unknown}: there is no such stage; there are {', '.join(JOBS)}")
    wanted = [name for name in JOBS if name in stages or (name == "report" and "evaluation" in stages)]
    found: list[JobSpec] = []
    for name in wanted:
        after = (found[-1].name,) if found else ()
        found.append(_job(name, recipe, site, str(recipe_file), after))
    return found


def _job(name: str, recipe: Recipe, site: Site, file: str, after: tuple[str, ...]) -> JobSpec:
    needs = resources(site, name)
    command: tuple[str, ...] = (_COMMANDS.get(name, name), file)
    if needs.nodes > 1 and name not in TRAINING and name != "instructions":
        raise InputError(f"{name}: runs on one node; set stages.{name}.nodes to 1 (its gpus to those of one node)")
    if name == "report":
        return JobSpec(name, (("evaluate", file), ("report", file)), needs, after=after)
    if name == "evaluation" and site.parts > 1:
        parts = ((*command, "--part", f"{{part}}/{site.parts}"),)
        return JobSpec(name, parts, needs, after=after, tasks=site.parts, at_once=site.at_once)
    launch: Launch = "plain"
    if name in TRAINING and needs.nodes * needs.processes > 1:
        launch = "torchrun"
    elif name == "instructions" and needs.nodes > 1:
        launch = "ray"
        workers = _workers(recipe, needs)
        command = (*command, "--set", "instructions.executor=ray", "--set", f"instructions.workers={workers}")
    return JobSpec(name, (command,), needs, launch, after)


def _workers(recipe: Recipe, needs: Resources) -> int:
    """One for each GPU, else for each core that was asked for, else as the recipe says."""
    return needs.nodes * (needs.gpus or needs.cpus or 0) or recipe.instructions.workers
