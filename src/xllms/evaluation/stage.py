"""Stage 5 as a whole: every model on every benchmark, unit by unit, then the scores.

A unit is one model on one group of languages; its predictions are written language by language when all are there. The
groups do not depend on what was done before, so a resumed run asks in the same batches and gets the same answers.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xllms.engines.local import LocalEngine
from xllms.errors import InputError
from xllms.evaluation import facts, xcopa
from xllms.evaluation.scores import summarise
from xllms.languages import resolve
from xllms.manifest import StageFolder, output_fingerprint, sha256_file, write_atomic
from xllms.models import Loaded, load
from xllms.models.loading import resolve as resolve_model
from xllms.progress import Progress
from xllms.recipe import EvaluationSettings, ModelSettings
from xllms.records import Prediction, read_jsonl, to_jsonl
from xllms.splits import read_split


@dataclass(frozen=True)
class Unit:
    """Work that is done at once: languages of one benchmark, and how a model predicts them."""

    benchmark: str
    codes: tuple[str, ...]
    predict: Callable[[Loaded, str], dict[str, list[Prediction]]]


def run(
    settings: EvaluationSettings,
    model: ModelSettings,
    template: str,
    instructions: Path,
    adapters: Mapping[str, Path | None],
    folder: Path,
) -> None:
    """Evaluate the models and write `predictions/` and `scores.json` into `folder`.

    Args:
        settings: benchmarks and limits.
        model: the base model.
        template: the prompt template.
        instructions: folder of stage 1, whose evaluation split `facts` asks.
        adapters: name of each model -> the stage folder that holds what was tuned; None for the base model.
        folder: where the files go.

    Raises:
        InputError: a benchmark's file is missing, no held-out facts, a folder made with other settings.
    """
    stage = StageFolder(
        folder,
        "evaluation",
        {
            "evaluation": {k: v for k, v in settings.model_dump(mode="json").items() if k != "data"},
            "model": model.model_dump(mode="json"),
            "template": template,
        },
        _inputs(settings, instructions, adapters),
    )
    if stage.done:
        return
    units = list(_units(settings, instructions))
    resolve_model(model.name)  # before the folder is begun: a typo leaves nothing behind
    stage.begin()
    with Progress("evaluation", len(adapters) * sum(len(u.codes) for u in units), "languages") as progress:
        for name, adapter in adapters.items():
            _evaluate(name, adapter, units, model, template, folder, progress)
    by_benchmark: dict[str, dict[str, dict[str, list[Prediction]]]] = {}
    for unit in units:
        for code in unit.codes:
            by_benchmark.setdefault(unit.benchmark, {})[code] = {
                name: list(read_jsonl(_path(folder, unit.benchmark, name, code), Prediction)) for name in adapters
            }
    scores = summarise(list(adapters), by_benchmark)
    write_atomic(folder / "scores.json", json.dumps(scores, indent=1, ensure_ascii=False) + "\n")
    counts = {
        benchmark: {code: len(next(iter(m.values()))) for code, m in rows.items()}
        for benchmark, rows in by_benchmark.items()
    }
    stage.finish({"items": counts, "models": list(adapters)}, [folder / "scores.json"])


def _evaluate(
    name: str,
    adapter: Path | None,
    units: Sequence[Unit],
    model: ModelSettings,
    template: str,
    folder: Path,
    progress: Progress,
) -> None:
    waiting = [unit for unit in units if not all(_path(folder, unit.benchmark, name, c).exists() for c in unit.codes)]
    progress.skip(sum(len(unit.codes) for unit in units if unit not in waiting))
    if not waiting:
        return
    loaded = load(model, template, adapter)
    for unit in waiting:
        for code, predictions in unit.predict(loaded, name).items():
            write_atomic(_path(folder, unit.benchmark, name, code), to_jsonl(predictions))
        progress.advance(len(unit.codes), f"{name} {unit.codes[-1]}")


def _units(settings: EvaluationSettings, instructions: Path) -> Iterator[Unit]:
    if "facts" in settings.benchmarks:
        held_out = read_split(instructions, "evaluation")
        codes = [language.code for language in resolve(settings.languages) if language.code in held_out]
        if not codes:
            raise InputError(f"{instructions / 'evaluation'}: none of the evaluation languages has held-out facts")
        for start in range(0, len(codes), settings.batch_languages):
            group = tuple(codes[start : start + settings.batch_languages])
            items = {code: held_out[code][: settings.limit] for code in group}
            yield Unit("facts", group, _facts_predictor(items, settings.max_new_tokens))
    if "xcopa" in settings.benchmarks and settings.data is not None:
        for task in xcopa.read(settings.data, settings.xcopa_split, settings.xcopa_languages, settings.limit):
            yield Unit("xcopa", (task.code,), _xcopa_predictor(task))


def _facts_predictor(items: Mapping[str, Any], limit: int) -> Callable[[Loaded, str], dict[str, list[Prediction]]]:
    return lambda loaded, name: facts.predict(LocalEngine(loaded), name, items, limit)


def _xcopa_predictor(task: xcopa.Task) -> Callable[[Loaded, str], dict[str, list[Prediction]]]:
    return lambda loaded, name: {task.code: xcopa.predict(loaded, name, task)}


def _inputs(settings: EvaluationSettings, instructions: Path, adapters: Mapping[str, Path | None]) -> dict[str, str]:
    inputs = {name: output_fingerprint(path) if path else "base" for name, path in adapters.items()}
    if "facts" in settings.benchmarks:
        inputs["instructions"] = output_fingerprint(instructions)
    if "xcopa" in settings.benchmarks and settings.data is not None:
        root = settings.data / "xcopa" if (settings.data / "xcopa").is_dir() else settings.data
        for path in sorted(root.glob("*/*.jsonl")):
            inputs[str(path.relative_to(root))] = sha256_file(path)
    return inputs


def _path(folder: Path, benchmark: str, model: str, code: str) -> Path:
    return folder / "predictions" / benchmark / model / f"{code}.jsonl"
