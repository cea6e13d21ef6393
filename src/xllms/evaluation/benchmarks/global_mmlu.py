"""Benchmark `global_mmlu`: MMLU's questions of 57 school subjects in 42 languages (Singh et al. 2024), four choices.

`standard` ranks the letters A to D by likelihood, with lm-evaluation-harness's words (its `global_mmlu_full`); solved
examples are the first of the dev split in the same subject. Where a letter is to be written, English asks for it.

Of 2,850 questions of each language people said whether an answer takes knowledge of a culture (`CS`) or not (`CA`):
accuracy is given for both apart, since a model may lead in one and trail in the other. Global-MMLU-Lite has the same
fields and is read alike.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import ClassVar

from xllms.errors import InputError
from xllms.evaluation.benchmark import ACCURACY, Asked, Benchmark, Item, Metric, Table, Task
from xllms.evaluation.data import Files, Row, field, limited
from xllms.evaluation.letters import LETTERS, read_letter
from xllms.languages import get
from xllms.metrics.item_statistics import ItemStatistics, accuracy, rate
from xllms.records import Prediction

_FOLDERS = """
am ar bn cs de el en es fa fil fr ha he hi id ig it ja ko ky lt mg ms ne nl ny pl pt ro ru si sn so sr sv sw te tr uk
vi yo zh
"""
LANGUAGES: Mapping[str, str] = {folder: get(folder).code for folder in _FOLDERS.split()}
_SPLITS = {"CS": "accuracy_sensitive", "CA": "accuracy_agnostic"}


class GlobalMmlu(Benchmark):
    """Accuracy by likelihood, or of a written letter; of all questions, and of those in and out of a culture."""

    name = "global_mmlu"
    metrics: ClassVar[Mapping[str, Metric]] = {
        "accuracy": ACCURACY,
        "accuracy_sensitive": Metric("Accuracy, culturally sensitive", scale=1),
        "accuracy_agnostic": Metric("Accuracy, culturally agnostic", scale=1),
    }

    def tables(self, asked: Asked) -> Iterator[Table]:
        """`global_mmlu.ranked` and `global_mmlu.written`."""
        files = Files(asked, self.name)
        ways = asked.ways
        tasks: dict[str, list[Task]] = {way: [] for way in ways}
        for folder, code in LANGUAGES.items():
            split = asked.options.split or "test"
            rows = files.rows(_names(folder, split), folder) if asked.wants(code) else None
            if rows is None:
                continue
            solved = _solved(files, folder, asked)
            for way in ways:
                items = tuple(_item(way, row, folder, _shots(solved, row, asked)) for row in limited(rows, asked))
                tasks[way].append(Task(code, code, items))
        files.close()
        if "ranked" in tasks:
            yield Table("global_mmlu.ranked", tasks["ranked"])
        if "written" in tasks:
            yield Table("global_mmlu.written", tasks["written"], asked.options.max_new_tokens or 512)

    def parse(self, item: Item, output: str) -> str | None:
        """As `read_letter`."""
        return read_letter(output, item.source.split("\n"))

    def statistics(self, predictions: Sequence[Prediction]) -> Mapping[str, ItemStatistics]:
        """Accuracy of all, and of each kind of which there is one."""
        correct = [p.correct for p in predictions]
        found = {"accuracy": accuracy(correct)}
        for kind, name in _SPLITS.items():
            if any(members := [p.kind == kind for p in predictions]):
                found[name] = rate(correct, members)
        return found


def _names(folder: str, split: str) -> list[str]:
    """Our own names, and those of a copy of the hub's folder."""
    return [f"{folder}/{split}.jsonl", f"{folder}/{split}.parquet", f"{folder}/{split}-00000-of-00001.parquet"]


def _solved(files: Files, folder: str, asked: Asked) -> Mapping[str, Sequence[Row]]:
    """What examples are taken from: the dev split, by subject."""
    if not asked.options.shots:
        return {}
    rows = files.rows(_names(folder, "dev"), folder, "dev")
    if rows is None:
        raise InputError(
            f"{files.root / _names(folder, 'dev')[0]}: no such file; evaluation.global_mmlu.shots takes its examples "
            "from it, without it they must be 0"
        )
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(field(row, "subject"), []).append(row)
    return found


def _shots(solved: Mapping[str, Sequence[Row]], row: Row, asked: Asked) -> list[Row]:
    """The first examples of the subject, without the item itself where that split is asked."""
    wanted = asked.options.shots
    subject = field(row, "subject") if wanted else ""
    found = list(islice((shot for shot in solved.get(subject, ()) if shot[0] != row[0]), wanted))
    if len(found) < wanted:
        raise InputError(
            f"{row[0]}: the dev split has {len(found)} questions in `{subject}` for {wanted} shots; ask for fewer"
        )
    return found


def _item(way: str, row: Row, folder: str, shots: Sequence[Row]) -> Item:
    context = _context if way == "ranked" else _prompt
    letter = _letter(row)
    between = " " if way == "ranked" else "\n"
    solved = "".join(f"{context(shot)}{between}{_letter(shot)}\n\n" for shot in shots)
    return Item(
        id=f"global_mmlu:{folder}:{field(row, 'sample_id')}",
        prompt=solved + context(row),
        reference=letter,
        choices=tuple(f" {one}" for one in LETTERS) if way == "ranked" else (),
        gold=LETTERS.index(letter) if way == "ranked" else None,
        kind=_kind(row),
        source="\n".join(" ".join(field(row, f"option_{one.lower()}").split()) for one in LETTERS),
    )


def _context(row: Row) -> str:
    """What the letters go on from."""
    return f"{_question(row)}Answer:"


def _prompt(row: Row) -> str:
    return f"{_question(row)}Which answer is right? Please only return its letter."


def _question(row: Row) -> str:
    options = "".join(f"{letter}. {field(row, f'option_{letter.lower()}')}\n" for letter in LETTERS)
    return f"{field(row, 'question').strip()}\n{options}"


def _letter(row: Row) -> str:
    letter = field(row, "answer").strip()
    if len(letter) != 1 or letter not in LETTERS:
        raise InputError(
            f"{row[0]}: the right answer is `{letter[:40]}`, but must be A, B, C or D; is this file of another version "
            "of the benchmark?"
        )
    return letter


def _kind(row: Row) -> str:
    """CS or CA where people said so, else empty."""
    said = row[1].get("cultural_sensitivity_label")
    return str(said) if said in _SPLITS and row[1].get("is_annotated") is not False else ""


benchmark = GlobalMmlu()
