"""`metrics.jsonl`: loss and its kin while training, over all and per language, one JSON object a line."""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from xllms.manifest import write_atomic
from xllms.training.objectives import Outcome

Sums = dict[str, dict[str, float]]


class LanguageMeans:
    """Weighted means of an objective's figures, over all examples and per language."""

    def __init__(self) -> None:
        self._sums: Sums = defaultdict(lambda: defaultdict(float))

    def add(self, outcome: Outcome, languages: list[str]) -> None:
        """Take in one batch."""
        weights = outcome.weight.tolist()
        columns = {name: values.tolist() for name, values in {"loss": outcome.loss, **outcome.extra}.items()}
        for row, language in enumerate(languages):
            for key in ("", language):
                sums = self._sums[key]
                sums["n"] += 1
                sums["weight"] += weights[row]
                for name, values in columns.items():
                    sums[name] += values[row] * weights[row]

    def take(self) -> Sums:
        """The sums so far, to be put together with those of other processes; then start over."""
        sums = {key: dict(values) for key, values in self._sums.items()}
        self._sums.clear()
        return sums

    def put_back(self, parts: Sequence[Sums], rank: int, size: int) -> None:
        """Take up what a checkpoint has: figures of steps that no line of the log had yet when the run was stopped.

        Args:
            parts: what `take` gave in each process that wrote the checkpoint, in order of rank.
            rank: of this process.
            size: how many processes there are now; if they were more or fewer then, the first one takes all parts.
        """
        alike = len(parts) == size
        for part in parts[rank : rank + 1] if alike else parts if rank == 0 else ():
            for key, values in part.items():
                for name, value in values.items():
                    self._sums[key][name] += value


def means(parts: Iterable[Sums]) -> dict[str, Any]:
    """Means of the sums of all processes, each with the count of examples behind it; empty where there are none."""
    total: Sums = defaultdict(lambda: defaultdict(float))
    for part in parts:
        for key, values in part.items():
            for name, value in values.items():
                total[key][name] += value
    if not total:
        return {}
    return {**_mean(total[""]), "languages": {key: _mean(total[key]) for key in sorted(total) if key}}


def _mean(sums: dict[str, float]) -> dict[str, float]:
    figures = {name: value for name, value in sums.items() if name not in ("n", "weight")}
    return {**{name: round(value / sums["weight"], 6) for name, value in figures.items()}, "n": int(sums["n"])}


class MetricsLog:
    """Appends to `metrics.jsonl`; after a resume, what an abandoned run wrote past the checkpoint is taken back."""

    def __init__(self, path: Path, resumed_at: int, *, writes: bool = True) -> None:
        self.path, self.writes = path, writes
        if not writes:
            return
        kept = []
        self._written: set[tuple[int, str]] = set()
        if path.exists():
            for line in path.read_text(encoding="utf-8").split("\n"):
                try:
                    values = json.loads(line)
                except json.JSONDecodeError:
                    continue  # a killed process left half a line
                if values["step"] <= resumed_at:
                    kept.append(line)
                    self._written.add((values["step"], values["split"]))
        write_atomic(path, "".join(line + "\n" for line in kept))

    def write(self, step: int, split: str, values: dict[str, Any]) -> None:
        """One line for one split at one step; what a resumed run computes again is left out."""
        if not self.writes or (step, split) in self._written:
            return
        self._written.add((step, split))
        line = json.dumps({"step": step, "split": split, **values}, ensure_ascii=False)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
