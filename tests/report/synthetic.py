"""A run folder of any size for the page's tests: random answers, real names of places in each language."""

import json
import random
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from babel import Locale, UnknownLocaleError

from xllms.evaluation.benchmark import Benchmark
from xllms.evaluation.benchmarks import find
from xllms.evaluation.judging import statistics_of
from xllms.evaluation.scores import Cells, summarise
from xllms.languages import Language, resolve
from xllms.metrics.item_statistics import by_item
from xllms.predictions import predictions_folder, write_predictions
from xllms.records import Prediction

MODELS = ("base", "sft", "dpo")
TABLES = ("facts", "xcopa.ranked", "belebele.ranked", "global_mmlu.ranked", "mgsm", "paws_x.ranked")
PLACES = ("DE", "KE", "BR", "IN", "JP", "EG", "FR", "MX", "NG", "TR", "CN", "US", "PL", "TH", "ET", "GE")


@cache
def places(language: Language) -> tuple[str, ...]:
    """What a language calls some countries; its own name where CLDR has none."""
    try:
        found = Locale.parse(language.bcp47, sep="-").territories
    except (UnknownLocaleError, ValueError):
        found = {}
    return tuple(str(found.get(code) or f"{language.autonym or language.name} {code}") for code in PLACES)


def make_run(
    folder: Path,
    tables: Sequence[str] = TABLES,
    models: Sequence[str] = MODELS,
    items: int = 16,
    languages: Sequence[str] = ("hundred",),
) -> Path:
    """Write scores and predictions, the same each time."""
    draw = random.Random(0)
    cells: dict[str, tuple[Benchmark, Cells]] = {}
    for table in tables:
        rows = {
            language.code: dict(_answers(table, language, models, items, draw)) for language in resolve(["hundred"])
        }
        cells[table] = (find(table.partition(".")[0].partition("+")[0]), rows)
    _write(folder, models, cells)
    return folder


def _answers(
    table: str, language: Language, models: Sequence[str], items: int, draw: random.Random
) -> Iterator[tuple[str, list[Prediction]]]:
    names, english = places(language), places(resolve(["English"])[0])
    ease = draw.random()
    for rank, model in enumerate(models):
        right = min(0.97, 0.1 + 0.5 * ease + 0.2 * rank)
        found = []
        for number in range(items):
            place = number % len(PLACES)
            hit, other = draw.random() < right, draw.random() < 0.3
            output = names[place] if hit else english[place] if other else names[place - 1]
            found.append(
                Prediction(
                    id=f"{table}:{language.code}:{number}",
                    benchmark=table,
                    model=model,
                    language=language.code,
                    kind=("territory", "language")[number % 2],
                    prompt=f"What is {english[place]} called in {language.name}?",
                    output=output,
                    parsed=None if not hit and draw.random() < 0.1 else output,
                    reference=names[place],
                    correct=hit,
                    verdict=("wrong" if other and not hit else "right") if table.startswith("facts") else "",
                    found_language="eng_Latn" if other and not hit else None,
                )
            )
        yield model, found


def _write(folder: Path, models: Sequence[str], cells: dict[str, tuple[Benchmark, Cells]]) -> None:
    scores = summarise(models, cells)
    path = folder / "evaluation" / "scores.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(scores, ensure_ascii=False, allow_nan=False), encoding="utf-8")
    for table, (benchmark, rows) in cells.items():
        for code, by_model in rows.items():
            for model, found in by_model.items():
                write_predictions(
                    predictions_folder(folder, table, model) / f"{code}.parquet", _scored(benchmark, found)
                )


def _scored(benchmark: Benchmark, found: Sequence[Prediction]) -> list[Prediction]:
    scores: list[dict[str, float]] = [{} for _ in found]
    for name, statistics in statistics_of(benchmark, found).items():
        if name != "off_target":
            for own, value in zip(scores, by_item(statistics).tolist(), strict=True):
                own[name] = round(value, 4)
    return [one.model_copy(update={"scores": own}) for one, own in zip(found, scores, strict=True)]
