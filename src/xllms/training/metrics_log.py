"""`metrics.jsonl`: loss and its kin while training, over all and per language, one JSON object a line."""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from xllms.manifest import write_atomic
from xllms.training.objectives import Outcome


class LanguageMeans:
    """Weighted means of an objective's figures, over all examples and per language."""

    def __init__(self) -> None:
        self._sums: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
        self._weights: dict[str, float] = defaultdict(float)
        self._counts: dict[str, int] = defaultdict(int)

    def add(self, outcome: Outcome, languages: list[str]) -> None:
        """Take in one batch."""
        weights = outcome.weight.tolist()
        figures = {"loss": outcome.loss, **outcome.extra}
        columns = {name: values.tolist() for name, values in figures.items()}
        for row, language in enumerate(languages):
            for key in ("", language):
                self._weights[key] += weights[row]
                self._counts[key] += 1
                for name, values in columns.items():
                    self._sums[key][name] += values[row] * weights[row]

    def take(self) -> dict[str, Any]:
        """Means so far with the count of examples behind them; then start over."""
        if not self._counts:
            return {}
        result = {
            **self._mean(""),
            "languages": {key: self._mean(key) for key in sorted(self._counts) if key},
        }
        self.__init__()  # type: ignore[misc]
        return result

    def _mean(self, key: str) -> dict[str, float]:
        means = {name: round(total / self._weights[key], 6) for name, total in self._sums[key].items()}
        return {**means, "n": self._counts[key]}


class MetricsLog:
    """Appends to `metrics.jsonl`; after a resume, what an abandoned run wrote past the checkpoint is taken back."""

    def __init__(self, path: Path, resumed_at: int) -> None:
        self.path = path
        kept = []
        self._written: set[tuple[int, str]] = set()
        if path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
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
        if (step, split) in self._written:
            return
        self._written.add((step, split))
        line = json.dumps({"step": step, "split": split, **values}, ensure_ascii=False)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
