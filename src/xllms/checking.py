"""What can be found wrong with a recipe before its first stage, not after hours."""

from pathlib import Path

from xllms.engines.factory import known
from xllms.errors import InputError
from xllms.languages import get, resolve
from xllms.recipe import AlpacaSource, FileSource, HubSource, Recipe
from xllms.recipe.evaluation import BENCHMARKS


def check(recipe: Recipe) -> None:
    """Find a misspelt language or a missing folder before the first stage, not after hours.

    Raises:
        UnknownLanguage: with the nearest names.
        InputError: a folder or file that a later stage reads is not there.
    """
    data = recipe.evaluation.data
    if data is not None and not data.is_dir():
        raise InputError(f"evaluation.data: {data}: no such folder")
    benchmarks = recipe.instructions.contamination.data
    if benchmarks is not None and not benchmarks.is_dir():
        raise InputError(f"instructions.contamination.data: {benchmarks}: no such folder")
    _check_evaluation(recipe)
    held = {language.code for language in resolve(recipe.languages)}
    for source in recipe.instructions.sources:
        if isinstance(source, AlpacaSource | FileSource | HubSource):
            for name in filter(None, (source.language, source.instruction_language)):
                get(name)
            if source.language:
                held.add(get(source.language).code)
    for kind, wanted, there in (
        ("engines", recipe.feedback.engines_used, recipe.engines),
        ("translators", recipe.feedback.translators_used, recipe.translators),
    ):
        for name in wanted:
            known(there, name, kind)
    for key, files in (("feedback.prompts_from", recipe.feedback.prompts_from), ("dpo.data", recipe.dpo.data)):
        for file in files:
            if not file.path.is_file():
                raise InputError(f"{key}: {file.path}: no such file")
            for name in filter(None, (file.language, file.instruction_language)):
                get(name)
    answered = {"evaluation": recipe.evaluation.languages}
    if not recipe.feedback.prompts_from:  # else the stage itself sees which languages they are in
        answered["feedback"] = recipe.feedback.languages
    for key, names in answered.items():
        if not held & {language.code for language in resolve(names)}:
            raise InputError(
                f"{key}.languages: none of {', '.join(names)} is among the recipe's `languages`; "
                f"name some of them in {key}.languages"
            )


def _check_evaluation(recipe: Recipe) -> None:
    settings = recipe.evaluation
    for name in settings.benchmarks:
        path = settings.options(name).path
        if path is not None and not path.is_dir():
            raise InputError(f"evaluation.{name if name in BENCHMARKS else 'own'}.path: {path}: no such folder")
        if name.endswith(".py") and not Path(name).is_file():
            raise InputError(f"evaluation.benchmarks: {name}: no such file")
    for name in (*settings.engines, *([settings.judge.engine] if settings.judge else [])):
        known(recipe.engines, name, "engines")
