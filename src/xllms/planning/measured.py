"""What a run's folder holds already: manifests of finished stages, which say what they did and how long it took.

Only a stage that was made with the settings that the recipe has now counts; another one would be made again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from xllms.languages import resolve
from xllms.manifest import MANIFEST, read_manifest
from xllms.recipe import Recipe

STAGES = ("instructions", "sft", "feedback", "dpo", "evaluation")


@dataclass(frozen=True)
class Held:
    """Manifests of a run.

    Attributes:
        finished: stage -> manifest, of the stages that would be skipped.
        changed: stages that are finished with other settings.
    """

    finished: Mapping[str, Mapping[str, Any]]
    changed: tuple[str, ...]


def held(recipe: Recipe) -> Held:
    """The finished stages of a recipe's run; one after a stage that is to be made again is to be made again, too.

    Raises:
        InputError: a manifest cannot be read.
    """
    finished: dict[str, Mapping[str, Any]] = {}
    changed: list[str] = []
    for stage in STAGES:
        folder = recipe.output / stage
        if not (folder / MANIFEST).exists():
            continue
        manifest = read_manifest(folder)
        if not changed and _same(stage, manifest, recipe):
            finished[stage] = manifest
        else:
            changed.append(stage)
    return Held(finished, tuple(changed))


def _same(stage: str, manifest: Mapping[str, Any], recipe: Recipe) -> bool:
    made_with = manifest.get("settings", {})
    if stage == "instructions":
        settled = recipe.instructions.model_dump(mode="json", exclude={"executor", "workers"})
        codes = sorted(language.code for language in resolve(recipe.languages))
        now: dict[str, Any] = {**settled, "languages": codes, "seed": recipe.seed}
    elif stage == "evaluation":  # grows: what is added to it later is no other evaluation
        now = {"model": recipe.model.model_dump(mode="json"), "template": recipe.template}
        counts = manifest.get("counts", {})
        tables = {name.partition(".")[0] for name in counts.get("items", {})}
        if not (set(recipe.evaluation.models or ("base", "sft", "dpo")) <= set(counts.get("models", ()))):
            return False
        if not {name for name in recipe.evaluation.benchmarks if not name.endswith(".py")} <= tables:
            return False
    else:
        now = {
            stage: getattr(recipe, stage).model_dump(mode="json"),
            "model": recipe.model.model_dump(mode="json"),
            "template": recipe.template,
            "seed": recipe.seed,
        }
    return all(made_with.get(key) == value for key, value in now.items())
