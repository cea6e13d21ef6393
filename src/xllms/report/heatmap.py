"""The heat map's cells: what is written in them, and which of nine colours they have."""

from collections.abc import Sequence
from typing import Any

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


def switch_data(benchmarks: Sequence[Benchmark]) -> list[dict[str, Any]]:
    """What the metric switch needs: one entry per benchmark and metric, its texts ready to show."""
    return [_entry(benchmark, metric) for benchmark in benchmarks for metric in _in_order(benchmark)]


def _in_order(benchmark: Benchmark) -> list[Metric]:
    return sorted(benchmark.metrics, key=lambda metric: metric.key != benchmark.primary.key)


def _entry(benchmark: Benchmark, metric: Metric) -> dict[str, Any]:
    low, high = benchmark.bounds(metric)
    cells = {
        code: [
            [metric.show(value), step(value, low, high), value]
            for model in benchmark.models
            for value in [benchmark.score(code, model, metric)]
        ]
        for code in benchmark.languages
    }
    return {
        "benchmark": benchmark.name,
        "label": f"{benchmark.name}: {metric.heading}",
        "higher": metric.higher_is_better,
        "low": metric.show(low),
        "high": metric.show(high),
        "models": [model_label(model) for model in benchmark.models],
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
