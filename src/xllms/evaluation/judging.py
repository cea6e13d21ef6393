"""From outputs to predictions: the answer that is in it, whether it is right, which language it is in, its scores."""

import math
from collections.abc import Iterator, Mapping, Sequence

from xllms.errors import XllmsError
from xllms.evaluation.benchmark import OFF_TARGET, Benchmark, Item, Metric, Table, Task
from xllms.evaluation.subjects import Output
from xllms.languages import get
from xllms.languages.confusion import can_be_told
from xllms.languages.identification import identify
from xllms.metrics.item_statistics import ItemStatistics, by_item, rate
from xllms.metrics.text import exact_match
from xllms.records import Prediction

_JUDGED = 20_000  # characters of an answer that its language is found by


def predictions(
    benchmark: Benchmark, table: Table, task: Task, model: str, outputs: Sequence[Output]
) -> list[Prediction]:
    """One task's predictions, each with its own score in every metric that has one for a single item."""
    bare = [_prediction(benchmark, table, task, model, *pair) for pair in zip(task.items, outputs, strict=True)]
    scores: list[dict[str, float]] = [dict(one.scores) for one in bare]
    for name, statistics in statistics_of(benchmark, bare).items():
        if name != "off_target":
            for own, value in zip(scores, by_item(statistics).tolist(), strict=True):
                if not math.isnan(value):  # an item that does not count in a rate
                    own[name] = round(value, 4)
    return [one.model_copy(update={"scores": own}) for one, own in zip(bare, scores, strict=True)]


def statistics_of(benchmark: Benchmark, found: Sequence[Prediction]) -> dict[str, ItemStatistics]:
    """Every metric on one task's predictions, the off-target rate among them where language was looked at."""
    statistics = dict(benchmark.statistics(found))
    if any(one.verdict for one in found):
        # Of a language that can only be ruled out, all that is decided would be wrong.
        told = can_be_told(get(found[0].language))
        decided = [told and one.verdict in ("right", "wrong") for one in found]
        statistics["off_target"] = rate([one.verdict == "wrong" for one in found], decided)
    return statistics


def metrics_of(benchmark: Benchmark) -> Mapping[str, Metric]:
    """A benchmark's metrics, and the off-target rate."""
    return {**benchmark.metrics, "off_target": OFF_TARGET}


def _prediction(benchmark: Benchmark, table: Table, task: Task, model: str, item: Item, output: Output) -> Prediction:
    if item.choices:
        return _ranked(table, task, model, item, output)
    parsed = None if output.error else benchmark.parse(item, output.text)
    correct = benchmark.correct(item, parsed)
    status, found = "", None
    if table.in_language:
        verdict = identify(output.text[:_JUDGED], get(task.language))
        # The reference itself is in the language, whatever an identifier makes of a short name.
        said = verdict.status == "wrong" and exact_match(output.text, item.reference)
        status = "right" if said else verdict.status
        found = verdict.found
    return Prediction(
        id=item.id,
        benchmark=table.name,
        model=model,
        language=task.language,
        kind=item.kind,
        prompt=f"{item.prompt}\n{item.input}".strip(),
        output=output.text,
        parsed=parsed,
        reference=item.reference,
        source=item.source,
        correct=correct,
        verdict=status,
        found_language=found,
        scores={"refused": 1.0} if output.error else {},
    )


def _ranked(table: Table, task: Task, model: str, item: Item, output: Output) -> Prediction:
    if len(output.logprobs) != len(item.choices):
        raise XllmsError(f"{item.id}: {len(output.logprobs)} scores for {len(item.choices)} choices")
    # A tie goes to the first, as everywhere in the field.
    picked = max(range(len(item.choices)), key=lambda number: (output.logprobs[number], -number))
    return Prediction(
        id=item.id,
        benchmark=table.name,
        model=model,
        language=task.language,
        kind=item.kind,
        prompt=item.prompt,
        output=item.choices[picked].strip(),
        parsed=str(picked),
        reference=item.reference,
        correct=picked == item.gold,
        scores=dict(_named(output)),
    )


def _named(output: Output) -> Iterator[tuple[str, float]]:
    for number, value in enumerate(output.logprobs, 1):
        yield f"logprob{number}", value
    if output.truncated:
        yield "truncated", float(output.truncated)
