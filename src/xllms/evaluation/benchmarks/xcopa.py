"""Benchmark `xcopa`: which of two is the more plausible cause or effect (Ponti et al. 2020), in twelve languages.

`standard` ranks the choices by likelihood after the premise and a connector, with lm-evaluation-harness's words, so
that figures compare: the premise's last character goes, and a space stands before the choice in every script. English
is asked like the others (COPA's items). `paper` asks in English for a letter, as the authors did, and reads it from the
answer.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from xllms.errors import InputError, one_line
from xllms.evaluation.benchmark import Asked, Benchmark, Item, Table, Task
from xllms.evaluation.data import Files, Row, field, limited, number
from xllms.evaluation.letters import read_letter


class Connectors(NamedTuple):
    """A language of the benchmark: its code here, and what stands before a cause and before an effect."""

    code: str
    cause: str
    effect: str


LANGUAGES: Mapping[str, Connectors] = {
    "en": Connectors("eng_Latn", "because", "therefore"),
    "et": Connectors("est_Latn", "sest", "seetõttu"),
    "ht": Connectors("hat_Latn", "poukisa", "donk sa"),
    "id": Connectors("ind_Latn", "karena", "maka"),
    "it": Connectors("ita_Latn", "perché", "quindi"),
    "qu": Connectors("quy_Latn", "imataq", "chaymi"),
    "sw": Connectors("swh_Latn", "kwa sababu", "kwa hiyo"),
    "ta": Connectors("tam_Taml", "காரணமாக", "எனவே"),
    "th": Connectors("tha_Thai", "เพราะ", "ดังนั้น"),
    "tr": Connectors("tur_Latn", "çünkü", "bu yüzden"),
    "vi": Connectors("vie_Latn", "bởi vì", "vì vậy"),
    "zh": Connectors("zho_Hans", "因为", "所以"),
}
_FILE = {"validation": "val", "test": "test"}


class Xcopa(Benchmark):
    """Accuracy by likelihood, or of a written letter."""

    name = "xcopa"

    def tables(self, asked: Asked) -> Iterator[Table]:
        """`xcopa.ranked` and `xcopa.written`."""
        files = Files(asked, self.name)
        ways = asked.ways
        tasks: dict[str, list[Task]] = {way: [] for way in ways}
        from_validation = []
        for folder, language in LANGUAGES.items():
            rows = files.rows(self._names(folder, asked), folder) if asked.wants(language.code) else None
            if rows is None:
                continue
            split = _split(rows, files, asked)
            if split == "validation" and not asked.options.split:
                from_validation.append(folder)
            solved = self._solved(files, folder, asked)
            for way in ways:
                make = _ranked if way == "ranked" else _written
                items = tuple(make(row, folder, split, _shots(solved, row, asked)) for row in limited(rows, asked))
                tasks[way].append(Task(language.code, language.code, items))
        files.close()
        if from_validation:
            print(
                f"xcopa: no test file, so the validation file is asked: {', '.join(from_validation)}", file=sys.stderr
            )
        if "ranked" in tasks:
            yield Table("xcopa.ranked", tasks["ranked"])
        if "written" in tasks:
            yield Table("xcopa.written", tasks["written"], asked.options.max_new_tokens or 512)

    def parse(self, item: Item, output: str) -> str | None:
        """As `read_letter`."""
        return read_letter(output, item.source.split("\n"))

    @staticmethod
    def _names(folder: str, asked: Asked, split: str | None = None) -> list[str]:
        split = split or asked.options.split
        splits = [split] if split else ["test", "validation"]
        return [f"{folder}/{_FILE.get(one, one)}.{folder}.jsonl" for one in splits]

    def _solved(self, files: Files, folder: str, asked: Asked) -> Sequence[Row]:
        """What examples are taken from: the validation split."""
        if not asked.options.shots:
            return ()
        (name,) = self._names(folder, asked, "validation")
        rows = files.rows([name], folder, "validation")
        if rows is None:
            raise InputError(
                f"{files.root / name}: no such file; evaluation.xcopa.shots takes its examples from it, without it "
                "they must be 0"
            )
        return rows


def _split(rows: Sequence[Row], files: Files, asked: Asked) -> str:
    """Which split the rows are of: test and validation number their items alike."""
    if files.hub or asked.options.split:
        return asked.options.split or "test"
    name = Path(rows[0][0]).name.partition(".")[0]
    return next((split for split, file in _FILE.items() if file == name), name)


def _shots(solved: Sequence[Row], row: Row, asked: Asked) -> list[Row]:
    """The first examples, the same for every item; an item that is one of them gets the next instead of itself."""
    return list(islice((shot for shot in solved if shot[0] != row[0]), asked.options.shots))


def context(row: Row, folder: str) -> str:
    """What the choices go on from."""
    language = LANGUAGES[folder]
    connector = language.cause if _question(row) == "cause" else language.effect
    return f"{field(row, 'premise').strip()[:-1]} {connector}"


def _ranked(row: Row, folder: str, split: str, shots: Sequence[Row]) -> Item:
    ahead = "".join(
        f"{context(shot, folder)}{choices[gold]}\n\n" for shot in shots for choices, gold in (_continuations(shot),)
    )
    choices, gold = _continuations(row)
    return Item(
        id=f"xcopa:{folder}:{split}:{field(row, 'idx')}",
        prompt=ahead + context(row, folder),
        reference=choices[gold].strip(),
        choices=choices,
        gold=gold,
        kind=_question(row),
    )


def _written(row: Row, folder: str, split: str, shots: Sequence[Row]) -> Item:
    choices, gold = _choices(row)
    solved = "".join(f"{_prompt(shot)}\n{'AB'[_choices(shot)[1]]}\n\n" for shot in shots)
    return Item(
        id=f"xcopa:{folder}:{split}:{field(row, 'idx')}",
        prompt=solved + _prompt(row),
        reference="AB"[gold],
        kind=_question(row),
        source="\n".join(choice.replace("\n", " ") for choice in choices),
    )


def _prompt(row: Row) -> str:
    (first, second), _ = _choices(row)
    return (
        f"Here is a premise: {field(row, 'premise')}. What is the {_question(row)}? "
        f"Help me pick the more plausible option: -A: {first}, -B: {second}."
    )


def _choices(row: Row) -> tuple[tuple[str, str], int]:
    return (field(row, "choice1"), field(row, "choice2")), number(row, "label", 2)


def _continuations(row: Row) -> tuple[tuple[str, str], int]:
    """As they go on in the sentence: a first letter is lower case where the script has one."""
    (first, second), gold = _choices(row)
    return (f" {first[:1].lower()}{first[1:]}", f" {second[:1].lower()}{second[1:]}"), gold


def _question(row: Row) -> str:
    asked = field(row, "question")
    if asked not in ("cause", "effect"):
        raise InputError(f"{row[0]}: question is `{one_line(asked[:40])}`, not cause or effect")
    return asked


benchmark = Xcopa()
