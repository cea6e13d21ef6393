"""Items to models, in units that survive a kill: a finished item is never asked again.

A unit is some items of a table that stand next to each other when all that are still to be asked are sorted by prompt,
since alike prompts share their beginning and are read once. Its outputs are one file, each with a digest of what was
asked of whom. Units are finished in order, so after a kill the rest falls into the same units as it would have, and,
asked in the same batches, gets the same answers.
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
        XllmsError: the model's outputs are not those of the items.
    """
    items = [item for task in tasks for item in task.items]
    digests = {item.id: identity(subject, table, [item]) for item in items}
    known = {output.asked: output for path in sorted(folder.glob("*.jsonl")) for output in read_jsonl(path, Output)}
    waiting = [item for item in items if digests[item.id] not in known]
    advance(len(items) - len(waiting), f"{subject.name} {table.name}")
    for unit in _units(waiting, batch_items):
        found = subject.ask(table, unit)
        if [output.id for output in found] != [item.id for item in unit]:
            raise XllmsError(f"{subject.name}: {table.name}: {len(found)} answers came back for {len(unit)} items")
        found = [output.model_copy(update={"asked": digests[output.id]}) for output in found]
        write_atomic(folder / f"{identity(subject, table, unit)}.jsonl", to_jsonl(found))
        known |= {output.asked: output for output in found}
        advance(len(unit), f"{subject.name} {table.name}")
    return {task.key: [known[digests[item.id]] for item in task.items] for task in tasks}


def forget(folder: Path) -> None:
    """Remove the units, when the predictions are written."""
    shutil.rmtree(folder, ignore_errors=True)


def identity(subject: Subject, table: Table, items: Sequence[Item]) -> str:
    """What outputs depend on, as a digest: the model, the items, the way of asking."""
    asked = [(item.id, item.prompt, item.input, item.choices) for item in items]
    return fingerprint([subject.fingerprint, table.name, table.max_new_tokens, table.one_line, table.stop, asked])[:32]


def _units(items: Sequence[Item], size: int) -> Iterator[list[Item]]:
    ordered = sorted(items, key=lambda item: (item.prompt, item.input, item.id))
    for start in range(0, len(ordered), size):
        yield ordered[start : start + size]
