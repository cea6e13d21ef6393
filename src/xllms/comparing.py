"""Models of one run or of several, on the same items: `xllms compare`.

Predictions are read as they stand; items are matched by their ids, and only what all models answered counts. They must
have been asked in the same words: with other shots or another protocol, it is the prompt that would be compared. Every
difference is tested over languages, and within each language over its items with Holm's correction.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from xllms.errors import InputError
from xllms.evaluation.benchmark import Benchmark
from xllms.evaluation.benchmarks import find
from xllms.evaluation.scores import summarise
from xllms.manifest import MANIFEST, STARTED, write_atomic
from xllms.predictions import SUFFIX, read_predictions
from xllms.recipe.evaluation import BENCHMARKS
from xllms.records import Prediction

_Tasks = dict[str, dict[str, list[Prediction]]]  # table -> task -> predictions
_LAST_FIRST = ("dpo", "sft", "base")


def compare(names: Sequence[str], tables: Sequence[str] = (), own: Sequence[str] = ()) -> dict[str, Any]:
    """Scores of some models over the items that all of them answered, in the form of `scores.json`.

    Args:
        names: at least two of RUN:MODEL, or RUN for its last model; the first is what the others are held against.
        tables: such as xcopa.ranked, or a benchmark's name for all of its tables; none: all that they share.
        own: files of benchmarks of one's own.

    Raises:
        InputError: no such run or model, nothing in common, or other prompts or right answers of the same items.
    """
    if len(names) < 2:
        raise InputError("compare: name two models at least, such as runs/a:sft runs/b:sft")
    models = dict(zip(_labels(names), map(_answers, names), strict=True))
    benchmarks = {one.name: one for one in map(find, own)}
    common = set.intersection(*(set(found) for found in models.values()))
    wanted = [name for name in sorted(common) if not tables or name in tables or name.partition(".")[0] in tables]
    if not wanted:
        held = ", ".join(sorted({name for found in models.values() for name in found})) or "nothing"
        raise InputError(f"compare: the models share no table{' of those' if tables else ''}; there is {held}")
    return summarise(list(models), {name: (_benchmark(name, benchmarks), _aligned(name, models)) for name in wanted})


def write(scores: Mapping[str, Any], folder: Path) -> Path:
    """Keep a comparison as a folder that the report is made from; the path of its scores.

    Raises:
        InputError: the folder is a run's, whose scores would be lost.
    """
    no_run(folder)
    path = folder / "evaluation" / "scores.json"
    write_atomic(path, json.dumps(scores, indent=1, ensure_ascii=False) + "\n")
    return path


def no_run(folder: Path) -> None:
    """See to it that a comparison does not overwrite a run's evaluation.

    Raises:
        InputError: the folder holds one.
    """
    if any((folder / "evaluation" / name).exists() for name in (STARTED, MANIFEST, "predictions")):
        raise InputError(f"compare: {folder} is a run with scores of its own; give another folder as --output")


def _split(name: str) -> tuple[Path, str]:
    run, colon, model = name.rpartition(":")
    return (Path(run), model) if colon and not Path(name).exists() else (Path(name), "")


def _labels(names: Sequence[str]) -> list[str]:
    """RUN:MODEL, of each run as much of the path's end as tells it from the others."""
    named = [(run.resolve(), model or _last(run)) for run, model in map(_split, names)]
    if len(set(named)) < len(named):
        raise InputError("compare: the same model is named twice")
    labels: list[str] = []
    for length in range(1, max(len(run.parts) for run, _ in named) + 1):
        before = Counter(labels)
        labels = [
            label if before[label] == 1 else f"{'/'.join(run.parts[-length:])}:{model}"
            for label, (run, model) in zip(labels or [""] * len(named), named, strict=True)
        ]
        if len(set(labels)) == len(labels):
            break
    return labels


def _last(run: Path) -> str:
    folder = run / "evaluation" / "predictions"
    if not folder.is_dir():
        raise InputError(f"{run}: holds no predictions; run `xllms evaluate RECIPE` first")
    there = {path.name for path in folder.glob("*/*") if path.is_dir()}
    return next((name for name in _LAST_FIRST if name in there), min(there, default=""))


def _answers(name: str) -> _Tasks:
    run, model = _split(name)
    model = model or _last(run)
    folder = run / "evaluation" / "predictions"
    found: _Tasks = {}
    for path in sorted(folder.glob(f"*/{model}/*{SUFFIX}")):
        found.setdefault(path.parts[-3], {})[path.stem] = read_predictions(path)
    if not found:
        there = sorted({path.name for path in folder.glob("*/*") if path.is_dir()})
        raise InputError(f"{name}: no predictions of `{model}`; {run} has {', '.join(there) or 'none'}")
    return found


def _benchmark(table: str, own: Mapping[str, Benchmark]) -> Benchmark:
    name = table.partition(".")[0]
    if name in own:
        return own[name]
    if name not in BENCHMARKS:
        raise InputError(f"compare: `{name}` is a benchmark of your own; give its file with --own FILE.py")
    return find(name)


def _aligned(table: str, models: Mapping[str, _Tasks]) -> _Tasks:
    """Task -> model -> predictions of the items that all have, in one order."""
    tasks = [set(found[table]) for found in models.values()]
    aligned: _Tasks = {}
    for key in sorted(set.intersection(*tasks)):
        by_model = {model: {p.id: p for p in found[table][key]} for model, found in models.items()}
        first, *others = by_model.values()
        shared = [one for one in first if all(one in other for other in others)]
        for one in shared:
            if any(other[one].reference != first[one].reference for other in others):
                raise InputError(f"compare: {table}, {key}: item {one} has another right answer in another run")
            if any(other[one].prompt != first[one].prompt for other in others):
                raise InputError(
                    f"compare: {table}, {key}: item {one} was asked in other words in another run (other shots or "
                    "another protocol?); evaluate both runs with the same settings"
                )
        if shared:
            aligned[key] = {model: [found[one] for one in shared] for model, found in by_model.items()}
    if not aligned:
        raise InputError(f"compare: {table}: the models answered no item in common")
    return aligned
