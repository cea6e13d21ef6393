"""One table, asked of one model: what is done, what is open, and what is only to be scored again.

Beside the predictions stands `asked.json`: for each task the model, what was asked, and what counts as right. Where the
model or the question is another one, the predictions are refused; where only the right answers or a benchmark's rules
are, the outputs are kept and scored again.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from xllms.evaluation import asking
from xllms.evaluation.benchmark import Benchmark, Table, Task
from xllms.evaluation.judging import predictions
from xllms.evaluation.subjects import Output, Subject
from xllms.manifest import ChangedSettings, fingerprint, read_json, write_atomic
from xllms.predictions import SUFFIX, read_predictions, write_predictions
from xllms.progress import Progress
from xllms.records import Prediction

ASKED = "asked.json"
_UNITS = "units"
_LOGPROB = "logprob"


@dataclass(frozen=True)
class Work:
    """A table and who is asked; `folder` holds the predictions."""

    benchmark: Benchmark
    table: Table
    subject: Subject
    folder: Path

    def path(self, task: Task) -> Path:
        """The predictions of a task."""
        return self.folder / f"{task.key}{SUFFIX}"

    @property
    def open(self) -> list[Task]:
        """Tasks that are still to be asked."""
        noted = self._noted()
        return [task for task in self.table.tasks if not (task.key in noted and self.path(task).exists())]

    @property
    def misjudged(self) -> list[Task]:
        """Tasks whose outputs are there, but were held against other answers or by other rules."""
        noted = self._noted()
        return [
            task
            for task in self.table.tasks
            if task.key in noted and self.path(task).exists() and noted[task.key]["right"] != self._right(task)
        ]

    def check(self) -> None:
        """Refuse predictions that were made of other items, or by another model of the same name.

        Raises:
            ChangedSettings: names the file and the way out.
        """
        noted = self._noted()
        for task in self.table.tasks:
            before = noted.get(task.key)
            if before and before["asked"] != self._asked(task) and self.path(task).exists():
                raise ChangedSettings(
                    f"{self.path(task)}: was made by another `{self.subject.name}` or of other items. Add "
                    "`--overwrite` to make the whole evaluation again, or write elsewhere with `--set output=FOLDER`"
                )

    def answer(self, batch_items: int, progress: Progress) -> None:
        """Ask what is open, score again what is misjudged, and write the predictions."""
        waiting, misjudged = self.open, self.misjudged
        asked = sum(len(task.items) for task in waiting)
        progress.skip(sum(len(task.items) for task in self.table.tasks) - asked)
        for task in misjudged:
            self._write(task, [_output(one) for one in read_predictions(self.path(task))])
        units = self.folder / _UNITS
        outputs = asking.ask(self.subject, self.table, waiting, units, batch_items, progress.advance) if waiting else {}
        for task in waiting:
            self._write(task, outputs[task.key])
        if waiting or misjudged:
            noted = {task.key: self._note(task) for task in (*waiting, *misjudged)}
            write_atomic(self.folder / ASKED, json.dumps({**self._noted(), **noted}, indent=1, sort_keys=True) + "\n")
        asking.forget(units)

    def made_before(self) -> dict[str, list[Prediction]]:
        """Predictions of tasks that are not asked for now, where this very model made them: key -> predictions."""
        now = {task.key for task in self.table.tasks}
        return {
            key: read_predictions(path)
            for key, note in sorted(self._noted().items())
            if key not in now
            and note["model"] == self.subject.fingerprint
            and (path := self.folder / f"{key}{SUFFIX}").exists()
        }

    def _write(self, task: Task, outputs: list[Output]) -> None:
        found = predictions(self.benchmark, self.table, task, self.subject.name, outputs)
        write_predictions(self.path(task), found)

    def _noted(self) -> Mapping[str, dict[str, str]]:
        path = self.folder / ASKED
        noted: Mapping[str, dict[str, str]] = read_json(path) if path.exists() else {}
        return noted

    def _note(self, task: Task) -> dict[str, str]:
        return {"model": self.subject.fingerprint, "asked": self._asked(task), "right": self._right(task)}

    def _asked(self, task: Task) -> str:
        return asking.identity(self.subject, self.table, task.items)

    def _right(self, task: Task) -> str:
        items = [(item.reference, item.gold, item.kind, item.source) for item in task.items]
        return fingerprint([self.benchmark.digest, task.language, self.table.in_language, items])[:32]


def _output(one: Prediction) -> Output:
    """What came back, from the prediction that was made of it."""
    logprobs = [value for name, value in one.scores.items() if name.startswith(_LOGPROB)]
    return Output(
        id=one.id,
        text=one.output,
        error="refused" if one.scores.get("refused") else "",
        logprobs=tuple(logprobs),
        truncated=int(one.scores.get("truncated", 0)),
    )
