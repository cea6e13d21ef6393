"""Answers and preference pairs of each language, taken by a fixed rule: some as they come, and the last model's worst.

The page holds all that it shows, so a run of many tables shows fewer and shorter ones: 100 languages x 10 tables x 3
models would be 16 MB at the full length, and are under 5.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from xllms.predictions import SUFFIX, predictions_folder, read_predictions
from xllms.records import Prediction, Preference, read_jsonl
from xllms.report.data import Benchmark, Metric
from xllms.report.script import MAX_CHARACTERS, LanguageInfo, Text, describe, text_in

PER_LANGUAGE = 4
PAIRS_PER_LANGUAGE = 3
# Of all samples of a page: how many, and how many characters in all.
_SAMPLES = 1_200
_CHARACTERS = 750_000
_SHORTEST = 120
# The prompts of these benchmarks are English whatever language the answer is asked in.
_ENGLISH_PROMPTS = {"facts"}
_BRACKETS = re.compile(r"\s*\([^()]*\)$")


@dataclass(frozen=True)
class Answer:
    """What one model said to one item."""

    model: str
    text: Text
    correct: bool
    verdict: str
    found: LanguageInfo | None
    parsed: bool
    score: float | None


@dataclass(frozen=True)
class Sample:
    """One item with the answers of all models; `worst` if it is among the last model's worst, and not as it comes."""

    id: str
    worst: bool
    kind: str
    prompt: Text
    reference: Text
    answers: tuple[Answer, ...]


@dataclass(frozen=True)
class LanguageSamples:
    """Some items of one language, and the models whose predictions are kept in files."""

    samples: tuple[Sample, ...]
    models: tuple[str, ...]


@dataclass(frozen=True)
class Allowance:
    """How much of each language a page can show."""

    per_language: int
    characters: int


@dataclass(frozen=True)
class Pair:
    """One preference: an instruction with the chosen and the rejected response."""

    id: str
    prompt: Text
    chosen: Text
    rejected: Text
    chosen_reason: str
    rejected_reason: str


@dataclass(frozen=True)
class Preferences:
    """Preference pairs of a run: some of each language, and how often each reason stands in all of them."""

    pairs: dict[str, tuple[Pair, ...]]
    counts: dict[str, int]
    chosen_reasons: tuple[tuple[str, int], ...]
    rejected_reasons: tuple[tuple[str, int], ...]


def allowance(benchmarks: Sequence[Benchmark]) -> Allowance:
    """So many samples of each language, and so many characters of each text, that the page opens quickly."""
    rows = max(1, sum(len(benchmark.languages) for benchmark in benchmarks))
    per_language = max(1, min(PER_LANGUAGE, _SAMPLES // rows))
    texts = rows * per_language * (max(len(benchmark.models) for benchmark in benchmarks) + 2)
    return Allowance(per_language, max(_SHORTEST, min(MAX_CHARACTERS, _CHARACTERS // texts)))


def read_samples(run: Path, benchmark: Benchmark, allowed: Allowance) -> dict[str, LanguageSamples]:
    """Items of each language: half the last model's worst, half the first of each kind, then the second, and so on."""
    found = ((code, _language_samples(run, benchmark, code, allowed)) for code in sorted(benchmark.languages))
    return {code: samples for code, samples in found if samples}


def _language_samples(run: Path, benchmark: Benchmark, code: str, allowed: Allowance) -> LanguageSamples | None:
    by_model: dict[str, dict[str, Prediction]] = {}
    for model in benchmark.models:
        path = predictions_folder(run, benchmark.name, model) / f"{code}{SUFFIX}"
        if path.is_file():
            by_model[model] = {record.id: record for record in read_predictions(path)}
    if not any(by_model.values()):
        return None
    metric = benchmark.primary
    items = {item.id: item for records in by_model.values() for item in records.values()}
    last = next(reversed(by_model.values()))
    worst = [item.id for item in _worst(list(last.values()), metric)[: (allowed.per_language + 1) // 2]]
    others = _spread([item for item in items.values() if item.id not in worst])
    chosen = [*worst, *(item.id for item in others[: allowed.per_language - len(worst)])]
    samples = tuple(
        _sample(items[id_], code, by_model, metric, allowed.characters, worst=id_ in worst) for id_ in chosen
    )
    return LanguageSamples(samples, tuple(by_model))


def _worst(items: Sequence[Prediction], metric: Metric) -> list[Prediction]:
    """Lowest score first; among equals, an answer that is none, then one in another language."""
    sign = 1 if metric.higher_is_better else -1
    return sorted(
        items,
        key=lambda p: (sign * p.scores.get(metric.key, float(p.correct)), p.parsed is not None, p.verdict != "wrong"),
    )


def _spread(items: Sequence[Prediction]) -> list[Prediction]:
    seen: Counter[str] = Counter()
    turns: list[tuple[int, Prediction]] = []
    for item in items:
        turns.append((seen[item.kind], item))
        seen[item.kind] += 1
    turns.sort(key=lambda turn: turn[0])
    return [item for _, item in turns]


def _sample(
    item: Prediction,
    key: str,
    by_model: Mapping[str, Mapping[str, Prediction]],
    metric: Metric,
    most: int,
    *,
    worst: bool,
) -> Sample:
    answers = {model: records[item.id] for model, records in by_model.items() if item.id in records}
    # A prompt is an instruction around a text, of which neither language is recorded; its direction is its own.
    prompt_language = "eng_Latn" if item.benchmark in _ENGLISH_PROMPTS else None if "-" in key else item.language
    return Sample(
        id=item.id,
        worst=worst,
        kind=item.kind,
        prompt=text_in(item.prompt, prompt_language, most=most, end=True),
        reference=text_in(item.reference, item.language, most=most),
        answers=tuple(_answer(model, record, metric, most) for model, record in answers.items()),
    )


def _answer(model: str, record: Prediction, metric: Metric, most: int) -> Answer:
    wrong = record.verdict == "wrong"
    language = record.found_language if wrong else record.language
    return Answer(
        model=model,
        text=text_in(record.output, language, most=most),
        correct=record.correct,
        verdict=record.verdict,
        found=describe(record.found_language) if wrong and record.found_language else None,
        parsed=record.parsed is not None,
        score=record.scores.get(metric.key),
    )


def read_preferences(run: Path) -> Preferences | None:
    """The preference pairs that stage `feedback` made, or None where there are none."""
    paths = sorted((run / "feedback" / "preferences").glob("*.jsonl"))
    records = {path.stem: list(read_jsonl(path, Preference)) for path in paths}
    records = {code: found for code, found in records.items() if found}
    if not records:
        return None
    every = [record for found in records.values() for record in found]
    pairs = {code: tuple(map(_pair, found[:PAIRS_PER_LANGUAGE])) for code, found in records.items()}
    return Preferences(
        pairs=pairs,
        counts={code: len(found) for code, found in records.items()},
        chosen_reasons=_most_common(record.chosen_reason for record in every),
        rejected_reasons=_most_common(record.rejected_reason for record in every),
    )


def _pair(record: Preference) -> Pair:
    prompt = f"{record.instruction}\n{record.input}" if record.input else record.instruction
    # What was rejected for its language is in some other one, and the record does not say which.
    rejected_language = None if "language" in record.rejected_reason.lower() else record.language
    return Pair(
        id=record.id,
        prompt=text_in(prompt, record.instruction_language),
        chosen=text_in(record.chosen, record.language),
        rejected=text_in(record.rejected, rejected_language),
        chosen_reason=record.chosen_reason,
        rejected_reason=record.rejected_reason,
    )


def _most_common(reasons: Iterable[str], most: int = 8) -> tuple[tuple[str, int], ...]:
    # A reason may end in the figures of its own pair, "lower chrF (31.2 against 80.4)": those are left out.
    return tuple(Counter(_BRACKETS.sub("", reason) for reason in reasons).most_common(most))
