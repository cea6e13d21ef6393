"""A few answers and preference pairs of each language, taken by a fixed rule, not by how good they look."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from xllms.records import Prediction, Preference, read_jsonl
from xllms.report.script import LanguageInfo, Text, describe, text_in

PER_LANGUAGE = 4
PAIRS_PER_LANGUAGE = 3
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


@dataclass(frozen=True)
class Sample:
    """One item with the answers of all models."""

    id: str
    kind: str
    prompt: Text
    reference: Text
    answers: tuple[Answer, ...]


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


def read_samples(run: Path, benchmark: str, models: Sequence[str]) -> dict[str, tuple[Sample, ...]]:
    """Up to `PER_LANGUAGE` items of each language: the first of each kind, then the second, and so on."""
    folder = run / "evaluation" / "predictions" / benchmark
    codes = {path.stem for model in models for path in (folder / model).glob("*.jsonl")}
    return {code: samples for code in sorted(codes) if (samples := _language_samples(folder, models, code))}


def _language_samples(folder: Path, models: Sequence[str], code: str) -> tuple[Sample, ...]:
    by_model: dict[str, dict[str, Prediction]] = {}
    for model in models:
        path = folder / model / f"{code}.jsonl"
        if path.is_file():
            by_model[model] = {record.id: record for record in read_jsonl(path, Prediction)}
    items = {item.id: item for records in by_model.values() for item in records.values()}
    chosen = _spread(list(items.values()))
    return tuple(_sample(item, code, by_model) for item in chosen)


def _spread(items: Sequence[Prediction]) -> list[Prediction]:
    seen: Counter[str] = Counter()
    turns: list[tuple[int, Prediction]] = []
    for item in items:
        turns.append((seen[item.kind], item))
        seen[item.kind] += 1
    turns.sort(key=lambda turn: turn[0])
    return [item for _, item in turns[:PER_LANGUAGE]]


def _sample(item: Prediction, code: str, by_model: Mapping[str, Mapping[str, Prediction]]) -> Sample:
    answers = {model: records[item.id] for model, records in by_model.items() if item.id in records}
    prompt_language = "eng_Latn" if item.benchmark in _ENGLISH_PROMPTS else code
    return Sample(
        id=item.id,
        kind=item.kind,
        prompt=text_in(item.prompt, prompt_language),
        reference=text_in(item.reference, code),
        answers=tuple(_answer(model, record, code) for model, record in answers.items()),
    )


def _answer(model: str, record: Prediction, code: str) -> Answer:
    wrong = record.verdict == "wrong"
    language = record.found_language if wrong else code
    found = describe(record.found_language) if wrong and record.found_language else None
    return Answer(model, text_in(record.output, language), record.correct, record.verdict, found)


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
