"""Items to models, in units that survive a kill: a finished unit is never asked again.

A unit is some items of a table that stand next to each other when all open items are sorted by prompt, since alike
prompts share their beginning and are read once. Its outputs are one file, named by what was asked of whom; when the
last unit of a table is there, the predictions of each task are written and the units go. Which tasks are open does not
change in between, so a resumed run has the same units and, asked in the same batches, the same answers.
"""

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from xllms.errors import XllmsError
from xllms.evaluation.benchmark import Item, Table, Task
from xllms.evaluation.subjects import Output, Subject
from xllms.manifest import fingerprint, write_atomic
from xllms.records import read_jsonl, to_jsonl


def ask(
    subject: Subject,
    table: Table,
    tasks: Sequence[Task],
    folder: Path,
    batch_items: int,
    advance: Callable[[int, str], None] = lambda count, label: None,
) -> dict[str, list[Output]]:
    """Outputs of one model for the open tasks of a table, task by task.

    Args:
        subject: who is asked.
        table: says how.
        tasks: those that have no predictions yet.
        folder: where finished units are kept meanwhile.
        batch_items: items of a unit.
        advance: told of items that were asked, with a label.

    Raises:
        XllmsError: two items of the table have the same id.
    """
    items = [item for task in tasks for item in task.items]
    by_id = {item.id: item for item in items}
    if len(by_id) != len(items):
        twice = next(item.id for item in items if by_id[item.id] is not item)
        raise XllmsError(f"benchmark {table.name}: two items have the id `{twice}`")
    outputs: dict[str, Output] = {}
    for unit in _units(items, batch_items):
        path = folder / f"{_identity(subject, table, unit)}.jsonl"
        if path.exists():
            found = list(read_jsonl(path, Output))
        else:
            found = subject.ask(table, unit)
            write_atomic(path, to_jsonl(found))
        outputs |= {output.id: output for output in found}
        advance(len(unit), f"{subject.name} {table.name}")
    return {task.key: [outputs[item.id] for item in task.items] for task in tasks}


def forget(folder: Path) -> None:
    """Remove the units, when the predictions are written."""
    shutil.rmtree(folder, ignore_errors=True)


def task_identity(subject: Subject, table: Table, task: Task) -> str:
    """What a task's predictions depend on, as a digest: the model, the items, the way of asking."""
    return _identity(subject, table, task.items)


def _units(items: Sequence[Item], size: int) -> Iterator[list[Item]]:
    ordered = sorted(items, key=lambda item: (item.prompt, item.input, item.id))
    for start in range(0, len(ordered), size):
        yield ordered[start : start + size]


def _identity(subject: Subject, table: Table, items: Sequence[Item]) -> str:
    asked = [(item.id, item.prompt, item.input, item.choices) for item in items]
    return fingerprint([subject.fingerprint, table.name, table.max_new_tokens, table.one_line, table.stop, asked])[:32]
