"""The heat maps' cells: what is written in them, and which of nine colours they have.

One map holds every table by its first metric, the other one table by any metric. A table has its own scale, from its
lowest score to its highest: a BLEU of 20 and an accuracy of 20 % have nothing in common.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from xllms.errors import visible
from xllms.report.data import Benchmark, Metric, model_label
from xllms.report.script import LanguageInfo, describe

STEPS = 9
RESOURCE_ORDER = ("high", "medium", "low", "very-low", "unknown")


def step(value: float | None, low: float, high: float) -> int | None:
    """Colour 0..8 of a value between the lowest and the highest of its metric."""
    if value is None:
        return None
    if high <= low:
        return STEPS // 2
    return min(STEPS - 1, int((value - low) / (high - low) * STEPS))


@dataclass(frozen=True)
class Cell:
    """One score of the map of all tables; `step` is None where nothing was measured."""

    text: str
    step: int | None
    value: float | None
    starts: bool


def matrix(benchmarks: Sequence[Benchmark], languages: Sequence[LanguageInfo]) -> list[tuple[LanguageInfo, list[Cell]]]:
    """A row a language: every model's score in every table, by the table's primary metric."""
    bounds = [benchmark.bounds(benchmark.primary) for benchmark in benchmarks]
    return [
        (
            info,
            [
                Cell(benchmark.primary.show(value), step(value, *ends), value, number == 0)
                for benchmark, ends in zip(benchmarks, bounds, strict=True)
                for number, model in enumerate(benchmark.models)
                for value in [benchmark.score(info.code, model, benchmark.primary)]
            ],
        )
        for info in languages
    ]


def switch_data(benchmarks: Sequence[Benchmark], models: Sequence[str]) -> list[dict[str, Any]]:
    """What the metric switch needs: one entry per benchmark and metric, its texts ready to show."""
    return [_entry(benchmark, metric, models) for benchmark in benchmarks for metric in _in_order(benchmark)]


def _in_order(benchmark: Benchmark) -> list[Metric]:
    return sorted(benchmark.metrics, key=lambda metric: metric.key != benchmark.primary.key)


def _entry(benchmark: Benchmark, metric: Metric, models: Sequence[str]) -> dict[str, Any]:
    low, high = benchmark.bounds(metric)
    cells = {
        code: [
            [metric.show(value), step(value, low, high), _short(value)]
            for model in models
            for value in [benchmark.score(code, model, metric)]
        ]
        for code in benchmark.languages
    }
    return {
        "label": f"{visible(benchmark.name)}: {metric.heading}",
        "higher": metric.higher_is_better,
        "low": metric.show(low),
        "high": metric.show(high),
        "models": [model_label(model) for model in models],
        "cells": cells,
    }


def languages_of(benchmarks: Sequence[Benchmark]) -> list[LanguageInfo]:
    """Every language of any benchmark, by name."""
    codes = {code for benchmark in benchmarks for code in benchmark.languages}
    return sorted((describe(code) for code in codes), key=lambda info: (info.name.casefold(), info.code))


def groups(languages: Sequence[LanguageInfo], attribute: str) -> list[tuple[str, list[LanguageInfo]]]:
    """Languages by script, resource class or family: resource classes from high to low, others by size."""
    found: dict[str, list[LanguageInfo]] = {}
    for info in languages:
        found.setdefault(getattr(info, attribute), []).append(info)
    if attribute == "resource":
        rank = {name: number for number, name in enumerate(RESOURCE_ORDER)}
        return sorted(found.items(), key=lambda item: (rank.get(item[0], len(rank)), item[0]))
    return sorted(found.items(), key=lambda item: (-len(item[1]), item[0]))


def _short(value: float | None) -> float | None:
    """Six digits are enough to sort by, and a third of the bytes."""
    return None if value is None else float(f"{value:.6g}")
