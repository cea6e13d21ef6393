"""One table, asked of one model: what is done, what is open, and what is only to be scored again.

Beside the predictions stands `asked/`, a note for each task: the model, what was asked, and what counts as right. Where
the model or the question is another one, the predictions are refused; where only the right answers or a benchmark's
rules are, the outputs are kept and scored again. A task has files of its own, so processes that answer different tasks
(`parts`) may work in one folder.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from xllms.evaluation import asking
from xllms.evaluation.benchmark import Benchmark, Table, Task
from xllms.evaluation.judging import predictions
from xllms.evaluation.subjects import Output, Subject
from xllms.manifest import TEMPORARY, ChangedSettings, fingerprint, read_json, write_atomic
from xllms.predictions import SUFFIX, read_predictions, write_predictions
from xllms.progress import Progress
from xllms.records import Prediction

_ASKED = "asked"
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
            if task.key in noted and self.path(task).exists() and noted[task.key]["right"] != self.right(task)
        ]

    def right(self, task: Task) -> str:
        """What a task's outputs are held against, as a digest: the right answers, and the benchmark's rules."""
        items = [(item.reference, item.gold, item.kind, item.source) for item in task.items]
        return fingerprint([self.benchmark.digest, task.language, self.table.in_language, items])[:32]

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

    def answer(self, lots: Sequence[Sequence[Task]], batch_items: int, progress: Progress) -> None:
        """Ask what is open of some of the table's lots, and write the predictions of each when it is answered."""
        still = {task.key for task in self.open}
        waiting = [[task for task in lot if task.key in still] for lot in lots]
        progress.skip(_items(lots) - _items(waiting))
        units = asking.Units(self.folder / _UNITS)
        for tasks in filter(None, waiting):
            outputs = asking.ask(self.subject, self.table, tasks, units, batch_items, progress.advance)
            for task in tasks:
                self._write(task, outputs[task.key])
        done = [task for lot in lots for task in lot]
        if len(done) == len(self.table.tasks):
            units.forget()
        else:
            units.forget({asking.identity(self.subject, self.table, [item]) for task in done for item in task.items})

    def judge_again(self) -> None:
        """Score again what is misjudged, and write the predictions."""
        for task in self.misjudged:
            self._write(task, [_output(one) for one in read_predictions(self.path(task))])

    def made_before(self) -> dict[str, list[Prediction]]:
        """Predictions of tasks that are not asked for now, where this very model made them: key -> predictions."""
        now = {task.key for task in self.table.tasks}
        notes = self.folder / _ASKED
        found = {path.relative_to(notes).with_suffix("").as_posix(): path for path in notes.rglob("*.json")}
        return {
            key: read_predictions(path)
            for key, note in sorted(found.items())
            if key not in now
            and not note.name.startswith(TEMPORARY)
            and (path := self.folder / f"{key}{SUFFIX}").exists()
            and read_json(note)["model"] == self.subject.fingerprint
        }

    def _write(self, task: Task, outputs: list[Output]) -> None:
        found = predictions(self.benchmark, self.table, task, self.subject.name, outputs)
        write_predictions(self.path(task), found)
        note = {"model": self.subject.fingerprint, "asked": self._asked(task), "right": self.right(task)}
        write_atomic(self._note(task), json.dumps(note, indent=1, sort_keys=True) + "\n")

    def _noted(self) -> Mapping[str, dict[str, str]]:
        notes = ((task.key, self._note(task)) for task in self.table.tasks)
        return {key: read_json(path) for key, path in notes if path.exists()}

    def _note(self, task: Task) -> Path:
        return self.folder / _ASKED / f"{task.key}.json"

    def _asked(self, task: Task) -> str:
        return asking.identity(self.subject, self.table, task.items)


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


def _items(lots: Sequence[Sequence[Task]]) -> int:
    return sum(len(task.items) for lot in lots for task in lot)
