"""Where a run fails: its worst languages, those that a stage made worse, those answered in another."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from xllms.report.data import Benchmark, Metric

SHOWN = 10


@dataclass(frozen=True)
class Failure:
    """One language in one list of failures; `before` is the model that it is held against."""

    code: str
    before: float | None
    after: float
    decided: int | None = None


@dataclass(frozen=True)
class Regression:
    """The languages where model `b` is worse than model `a`, the largest loss first."""

    a: str
    b: str
    metric: Metric
    languages: tuple[Failure, ...]
    compared: int


@dataclass(frozen=True)
class Failures:
    """What went wrong in one benchmark; the lists are those of the last model."""

    worst: tuple[Failure, ...]
    regressions: tuple[Regression, ...]
    off_target: tuple[Failure, ...]
    undecided: tuple[str, ...]


def find_failures(benchmark: Benchmark) -> Failures:
    """Everything that the section `Where it fails` shows for one benchmark."""
    models = benchmark.models
    regressions = tuple(_regression(benchmark, a, b) for a, b in itertools.pairwise(models))
    return Failures(
        worst=tuple(ranked(benchmark)[::-1][:SHOWN]),
        regressions=regressions,
        off_target=_off_target(benchmark)[:SHOWN],
        undecided=_undecided(benchmark),
    )


def ranked(benchmark: Benchmark) -> list[Failure]:
    """Every language by the last model's primary score, best first, with the first model's beside it."""
    return sorted(_scored(benchmark, benchmark.primary), key=lambda f: (-f.after, f.code))


def _scored(benchmark: Benchmark, metric: Metric) -> Sequence[Failure]:
    first, last = benchmark.models[0], benchmark.models[-1]
    return [
        Failure(code, benchmark.score(code, first, metric), after, benchmark.count(code, last, "decided"))
        for code in benchmark.languages
        if (after := benchmark.score(code, last, metric)) is not None
    ]


def _regression(benchmark: Benchmark, a: str, b: str) -> Regression:
    metric = benchmark.primary
    both = [
        Failure(code, before, after)
        for code in benchmark.languages
        if (before := benchmark.score(code, a, metric)) is not None
        and (after := benchmark.score(code, b, metric)) is not None
    ]
    losses = [(metric.gain(f.before or 0.0, f.after), f) for f in both]
    worse = sorted(((gain, f) for gain, f in losses if gain < 0), key=lambda pair: (pair[0], pair[1].code))
    return Regression(a, b, metric, tuple(f for _, f in worse), len(both))


def _off_target(benchmark: Benchmark) -> tuple[Failure, ...]:
    metric = benchmark.off_target
    if metric is None:
        return ()
    off_target = [failure for failure in _scored(benchmark, metric) if failure.after > 0]
    return tuple(sorted(off_target, key=lambda failure: (-failure.after, failure.code)))


def _undecided(benchmark: Benchmark) -> tuple[str, ...]:
    metric, last = benchmark.off_target, benchmark.models[-1]
    if metric is None:
        return ()
    return tuple(
        code
        for code, by_model in benchmark.languages.items()
        if last in by_model and benchmark.score(code, last, metric) is None
    )
