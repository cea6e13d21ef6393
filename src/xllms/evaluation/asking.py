"""Items to models, in units that survive a kill: a finished item is never asked again.

A unit is some items of a lot (`parts`) that stand next to each other when all that are still to be asked are sorted by
prompt, since alike prompts share their beginning and are read once. Its outputs are one file, each with a digest of
what was asked of whom. A lot's units are finished in order, so after a kill the rest falls into the same units as it
would have, and, asked in the same batches, gets the same answers.
"""

import contextlib
import shutil
from collections.abc import Callable, Iterator, Sequence, Set
from pathlib import Path

from xllms.errors import InputError, XllmsError
from xllms.evaluation.benchmark import Item, Table, Task
from xllms.evaluation.subjects import Output, Subject
from xllms.manifest import TEMPORARY, fingerprint, write_atomic
from xllms.records import read_jsonl, to_jsonl


class Units:
    """Finished units of one model's answers to one table; other processes may add and remove files of their own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._asked: dict[Path, Set[str]] = {}
        self._known: dict[str, Output] = {}
        for path in sorted(folder.glob("*.jsonl")):
            if not path.name.startswith(TEMPORARY):
                with _may_be_gone(path):
                    self._take(path, list(read_jsonl(path, Output)))

    def get(self, asked: str) -> Output | None:
        """The output with this digest."""
        return self._known.get(asked)

    def add(self, name: str, outputs: Sequence[Output]) -> None:
        """Keep a unit."""
        path = self._folder / f"{name}.jsonl"
        write_atomic(path, to_jsonl(outputs))
        self._take(path, outputs)

    def forget(self, asked: Set[str] | None = None) -> None:
        """Remove the units that hold these outputs and no others, when their predictions are written; None: all."""
        if asked is None:
            shutil.rmtree(self._folder, ignore_errors=True)
            return
        for path, held in self._asked.items():
            if held <= asked:
                path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # others are in it
            self._folder.rmdir()

    def _take(self, path: Path, outputs: Sequence[Output]) -> None:
        self._asked[path] = {output.asked for output in outputs}
        self._known |= {output.asked: output for output in outputs}


def ask(
    subject: Subject,
    table: Table,
    tasks: Sequence[Task],
    units: Units,
    batch_items: int,
    advance: Callable[[int, str], None] = lambda count, label: None,
) -> dict[str, list[Output]]:
    """Outputs of one model for the open tasks of a lot, task by task.

    Args:
        subject: who is asked.
        table: says how.
        tasks: those that have no predictions yet.
        units: where finished ones are kept meanwhile.
        batch_items: items of a unit.
        advance: told of items that were asked, with a label.

    Raises:
        XllmsError: the model's outputs are not those of the items.
    """
    items = [item for task in tasks for item in task.items]
    digests = {item.id: identity(subject, table, [item]) for item in items}
    known = {item.id: output for item in items if (output := units.get(digests[item.id]))}
    advance(len(known), f"{subject.name} {table.name}")
    for unit in _units([item for item in items if item.id not in known], batch_items):
        found = subject.ask(table, unit)
        if [output.id for output in found] != [item.id for item in unit]:
            raise XllmsError(f"{subject.name}: {table.name}: {len(found)} answers came back for {len(unit)} items")
        found = [output.model_copy(update={"asked": digests[output.id]}) for output in found]
        units.add(identity(subject, table, unit), found)
        known |= {output.id: output for output in found}
        advance(len(unit), f"{subject.name} {table.name}")
    return {task.key: [known[item.id] for item in task.items] for task in tasks}


def identity(subject: Subject, table: Table, items: Sequence[Item]) -> str:
    """What outputs depend on, as a digest: the model, the items, the way of asking."""
    asked = [(item.id, item.prompt, item.input, item.choices) for item in items]
    return fingerprint([subject.fingerprint, table.name, table.max_new_tokens, table.one_line, table.stop, asked])[:32]


def _units(items: Sequence[Item], size: int) -> Iterator[list[Item]]:
    ordered = sorted(items, key=lambda item: (item.prompt, item.input, item.id))
    for start in range(0, len(ordered), size):
        yield ordered[start : start + size]


@contextlib.contextmanager
def _may_be_gone(path: Path) -> Iterator[None]:
    """Another process may have written the predictions that its units were for."""
    try:
        yield
    except InputError:
        if path.exists():
            raise
