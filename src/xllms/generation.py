"""One answer from a run's model, for `xllms generate`."""

import re
from dataclasses import dataclass
from pathlib import Path

from xllms.engines.local import LocalEngine
from xllms.engines.protocol import Sampling
from xllms.errors import InputError
from xllms.languages import Language, get
from xllms.languages.identification import identify
from xllms.manifest import STARTED, read_json
from xllms.models import load
from xllms.pipeline import RECIPE_FILE, adapters
from xllms.recipe import ModelSettings
from xllms.recipe_file import load_recipe


@dataclass(frozen=True)
class Answer:
    """What was said, by which model, and whether it is in the language asked for."""

    text: str
    model: str
    language: str
    verdict: str


def answer(
    run: Path,
    instruction: str,
    language: str,
    given: str = "",
    stage: str | None = None,
    max_new_tokens: int = 128,
    temperature: float = 0.0,
    seed: int = 0,
) -> Answer:
    """Ask the model of a run.

    Raises:
        InputError: no run there, a stage that is not finished, an unknown language.
    """
    wanted = get(language)
    name, folder, settings, template = stage_model(run, stage)
    engine = LocalEngine(load(settings, template, folder))
    asked = (_in_language(instruction, wanted), given)
    text = engine.answer([asked], max_new_tokens, Sampling(temperature, 0.95 if temperature else 1.0, seed))[0]
    verdict = identify(text, wanted)
    return Answer(text, name, wanted.name, f"language {verdict.status}: {verdict.reason}")


def stage_model(run: Path, stage: str | None) -> tuple[str, Path | None, ModelSettings, str]:
    """A model of a run: its name, the folder of its stage (None: the base model), its settings and template.

    Raises:
        InputError: no run there, or a stage that is not finished.
    """
    if not (run / RECIPE_FILE).exists():
        raise InputError(f"{run}: not the folder of a run (no {RECIPE_FILE}); make one with `xllms run RECIPE`")
    recipe = load_recipe(run / RECIPE_FILE)
    known = adapters(run)
    name = stage or list(known)[-1]
    if name not in known:
        raise InputError(f"{run}: has no finished `{name}` model; it has: {', '.join(known)}")
    folder = known[name]
    if folder is None:
        return name, None, recipe.model, recipe.template
    made_with = read_json(folder / STARTED)["settings"]  # what it was trained with, whatever the recipe says by now
    return name, folder, ModelSettings(**made_with["model"]), made_with["template"]


def _in_language(instruction: str, language: Language) -> str:
    """The instruction names the language it wants, as the training data does."""
    if re.search(rf"\b{re.escape(language.name)}(?!\w)", instruction):
        return instruction
    return f"{instruction.rstrip()} Answer in {language.name}."
