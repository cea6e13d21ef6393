"""Runs a recipe's stages in order: skips what is done, goes on with what is not.

    instructions -> sft -> feedback -> dpo -> evaluation -> report

Each stage is a function from folders to a folder; this is the one place that knows which folder feeds which.
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from xllms.checking import check
from xllms.engines.factory import CACHE, LazyEngine, known, local_content
from xllms.errors import InputError
from xllms.languages import resolve
from xllms.manifest import (
    MANIFEST,
    ChangedSettings,
    FolderBusy,
    fingerprint,
    hold,
    output_fingerprint,
    release,
    write_atomic,
)
from xllms.processes import is_main, world_size
from xllms.recipe import (
    ChatTranslatorSettings,
    LocalEngineSettings,
    Recipe,
    Settings,
)

if TYPE_CHECKING:
    from xllms.evaluation.subjects import Subject
    from xllms.instructions.stage import Crew

STAGES = ("instructions", "sft", "feedback", "dpo", "evaluation", "report")
TRAINING = frozenset({"sft", "dpo"})
RECIPE_FILE = "recipe.yaml"


def run(
    recipe: Recipe, stages: Sequence[str] = STAGES, *, overwrite: bool = False, part: tuple[int, int] | None = None
) -> None:
    """Run stages of a recipe.

    Args:
        recipe: what to do, and where (`output`).
        stages: some of `STAGES`, in order.
        overwrite: make a stage again, and those after it, where its settings have changed since it was made.
        part: of the evaluation, (K, N): answer the Kth of N parts only, see `evaluation.stage.run`.

    Raises:
        InputError: wrong input, or a stage made with other settings and no `overwrite`.
    """
    if part is not None:
        _check_part(stages, overwrite, part)
    check(recipe)
    together = world_size() > 1
    if together and not set(stages) <= TRAINING:
        raise InputError(
            f"{world_size()} processes were started: only `xllms sft` and `xllms dpo` share their work; run the other "
            "stages without torchrun"
        )
    kept = recipe.output / RECIPE_FILE
    before = kept.read_bytes() if kept.exists() else None
    if is_main():
        write_atomic(kept, yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True))
    if recipe.threads:
        _limit_threads(recipe.threads)
    runs: dict[str, Callable[[Recipe], None]] = {**_RUN, "evaluation": partial(_evaluation, part=part)}
    for stage in stages:
        try:
            runs[stage](recipe)
        except ChangedSettings:
            if overwrite and together:
                raise InputError(
                    "--overwrite takes one process: clear the stage without torchrun, then start it"
                ) from None
            if not overwrite:
                _keep(kept, before)
                raise
            _make_again(recipe, stage)
        except FolderBusy:
            _keep(kept, before)
            raise


def _check_part(stages: Sequence[str], overwrite: bool, part: tuple[int, int]) -> None:
    from xllms.evaluation import parts

    if tuple(stages) != ("evaluation",):
        raise InputError(f"part: only the evaluation is done in parts, not {', '.join(stages)}")
    if overwrite:
        raise InputError("--part answers what is open and clears nothing: run it without --overwrite")
    parts.check(part)


def _keep(path: Path, before: bytes | None) -> None:
    """The recipe that the files are still those of."""
    if before is not None and is_main():
        write_atomic(path, before)


def _make_again(recipe: Recipe, stage: str) -> None:
    """Run a stage with new settings; what it made before goes when the new work has begun, not when it is refused."""
    aside = {name: recipe.output / f".old-{name}" for name in STAGES[STAGES.index(stage) :]}
    try:
        for name in aside:
            hold(recipe.output / name)  # nobody may be at work in what is moved away
        _replaced(recipe, stage, aside)
    finally:
        for name in aside:
            release(recipe.output / name)


def _replaced(recipe: Recipe, stage: str, aside: Mapping[str, Path]) -> None:
    for name, old in aside.items():
        shutil.rmtree(old, ignore_errors=True)
        if (recipe.output / name).exists():
            (recipe.output / name).rename(old)
    try:
        _RUN[stage](recipe)
    finally:
        refused = not (recipe.output / stage).exists()
        for name, old in aside.items():
            if refused and old.exists():
                old.rename(recipe.output / name)
            shutil.rmtree(old, ignore_errors=True)


def adapters(output: Path) -> dict[str, Path | None]:
    """The models that a run holds so far: the base model, and the stages that have finished an adapter."""
    tuned = {stage: output / stage for stage in ("sft", "dpo") if (output / stage / MANIFEST).exists()}
    return {"base": None, **tuned}


def _instructions(recipe: Recipe) -> None:
    from xllms.instructions import stage

    languages, crew = resolve(recipe.languages), _crew(recipe)
    stage.run(recipe.instructions, languages, recipe.seed, recipe.output / "instructions", crew)


def _crew(recipe: Recipe) -> "Crew":
    """Who translates and writes, of those that the recipe names."""
    from xllms.engines.factory import translator_makers
    from xllms.instructions.stage import Crew

    translation = recipe.instructions.translation
    if translation is None:
        return Crew()
    named = {name: known(recipe.translators, name, "translators") for name in translation.translators}
    asked = {one.engine for one in named.values() if isinstance(one, ChatTranslatorSettings)}
    asked |= {translation.teacher} if translation.teacher else set()
    engines = {name: known(recipe.engines, name, "engines") for name in sorted(asked)}
    cache = recipe.output / CACHE
    return Crew(
        translator_makers(named, engines, cache),
        partial(LazyEngine, engines[translation.teacher], cache) if translation.teacher else None,
        _engine_settings({**named, **engines}, recipe.engines),
    )


def _engine_settings(named: Mapping[str, Settings], engines: Mapping[str, Settings]) -> dict[str, Any]:
    """What decides what they write: of their settings (not speed, prices and addresses), and what local models hold.

    A translator that asks an engine has that engine's settings in its own.
    """
    speed = {"base_url", "key_env", "concurrency", "requests_per_minute", "timeout", "retries", "batch_size", "device"}
    speed |= {"input_price", "output_price", "price", "command", "tensor_parallel"}

    def settled(one: Settings) -> dict[str, Any]:
        content = local_content(one)
        # A local engine's draws hang on its batches.
        drawn = {"batch_size"} if isinstance(one, LocalEngineSettings) else set()
        return one.model_dump(mode="json", exclude=speed - drawn) | ({"content": content} if content else {})

    found = {name: settled(one) for name, one in named.items()}
    for name, one in named.items():
        if isinstance(one, ChatTranslatorSettings):
            found[name]["asks"] = settled(known(engines, one.engine, "engines"))
    return found


def _sft(recipe: Recipe) -> None:
    from xllms.training import sft

    out = recipe.output
    sft.run(recipe.sft, recipe.model, recipe.template, recipe.seed, out / "instructions", out / "sft", recipe.tracking)


def _feedback(recipe: Recipe) -> None:
    from xllms.engines.factory import engine_makers, translator_makers
    from xllms.feedback import stage

    out, asked = recipe.output, recipe.feedback
    named: dict[str, Settings] = {name: known(recipe.engines, name, "engines") for name in asked.engines_used}
    named |= {name: known(recipe.translators, name, "translators") for name in asked.translators_used}
    stage.run(
        asked,
        recipe.model,
        recipe.template,
        recipe.seed,
        out / "instructions",
        out / "sft",
        out / "feedback",
        engines=engine_makers(recipe.engines, out / CACHE),
        translators=translator_makers(recipe.translators, recipe.engines, out / CACHE),
        engine_settings=_engine_settings(named, recipe.engines),
    )


def _dpo(recipe: Recipe) -> None:
    from xllms.training import dpo

    out = recipe.output
    dpo.run(
        recipe.dpo,
        recipe.model,
        recipe.template,
        recipe.seed,
        out / "sft",
        out / "feedback",
        out / "dpo",
        recipe.tracking,
        instructions=out / "instructions",
    )


def _evaluation(recipe: Recipe, part: tuple[int, int] | None = None) -> None:
    from xllms.evaluation import stage

    out = recipe.output
    made_with = {"model": recipe.model.model_dump(mode="json"), "template": recipe.template}
    judge = recipe.evaluation.judge
    judging = LazyEngine(known(recipe.engines, judge.engine, "engines"), out / CACHE) if judge else None
    # Machines cannot share a file of answers: each part has its own.
    answers = out / (CACHE if part is None else f"part-{part[0]}-of-{part[1]}-{CACHE}")
    subjects = _subjects(recipe, answers)
    stage.run(recipe.evaluation, out / "instructions", subjects, out / "evaluation", made_with, judging, part)
    if part is None:
        for path in out.glob(f"part-*-of-*-{CACHE}*"):
            path.unlink(missing_ok=True)


def _subjects(recipe: Recipe, answers: Path) -> list["Subject"]:
    """The models to evaluate: the run's own, then the engines that the recipe names."""
    from xllms.evaluation.subjects import Subject, local, missing

    there = adapters(recipe.output)
    wanted = recipe.evaluation.models or tuple(there)
    if absent := next((name for name in wanted if name not in there), None):
        raise missing(absent, list(there))
    found = []
    for name in wanted:
        identity = output_fingerprint(tuned) if (tuned := there[name]) else "base"
        found.append(local(name, identity, recipe.model, recipe.template, tuned))
    for name in recipe.evaluation.engines:
        engine = known(recipe.engines, name, "engines")
        identity = fingerprint(_engine_settings({name: engine}, recipe.engines))
        found.append(Subject(name, identity, partial(LazyEngine, engine, answers)))
    return found


def _report(recipe: Recipe) -> None:
    from xllms.report import build

    build(recipe.output)


def _limit_threads(threads: int) -> None:
    try:
        import torch
    except ImportError:  # the base install: stages that need torch say so themselves
        return
    torch.set_num_threads(threads)


_RUN: dict[str, Callable[[Recipe], None]] = {
    "instructions": _instructions,
    "sft": _sft,
    "feedback": _feedback,
    "dpo": _dpo,
    "evaluation": _evaluation,
    "report": _report,
}
