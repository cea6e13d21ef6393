"""A tiny run that was planned before it was made."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import write_recipe
from xllms import pipeline
from xllms.manifest import read_manifest
from xllms.planning import RunPlan, StagePlan, plan
from xllms.recipe import Recipe
from xllms.recipe_file import load_recipe

MADE = ("instructions", "sft", "feedback", "dpo", "evaluation")


@dataclass(frozen=True)
class Planned:
    """A recipe, its plan from before the run, and the manifests of what came of it."""

    path: Path
    recipe: Recipe
    before: RunPlan
    manifests: Mapping[str, Mapping[str, Any]]

    def counts(self, stage: str) -> Mapping[str, Any]:
        counts: Mapping[str, Any] = self.manifests[stage]["counts"]
        return counts


def stage(plan: RunPlan, name: str) -> StagePlan:
    (found,) = [one for one in plan.stages if one.stage == name]
    return found


@pytest.fixture(scope="session")
def planned(tiny_model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Planned:
    path = write_recipe(tmp_path_factory.mktemp("planned"), tiny_model_folder)
    recipe = load_recipe(path)
    before = plan(recipe)
    pipeline.run(recipe, MADE)
    return Planned(path, recipe, before, {name: read_manifest(recipe.output / name) for name in MADE})
