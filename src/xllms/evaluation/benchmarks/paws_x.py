"""Benchmark `paws_x`: whether two sentences of much the same words say the same (Yang et al. 2019), in seven languages.

`standard` ranks "FIRST, right? No, SECOND" against "FIRST, right? Yes, SECOND" by likelihood, both scored from their
first token on, with lm-evaluation-harness's words and its detokenising of German, English, Spanish and French, so that
figures compare. `paper` asks in English for yes or no, as the authors did, and reads it from the answer.

45 % of the pairs are paraphrases, so that "always no" is right in 55 %: balanced accuracy (then 50 %) stands beside
accuracy. Where the translators had nothing, a sentence is `NS`, which is never a paraphrase and easy to see (32 of
German's 2,000): such items are kept, as everywhere in the field, and accuracy is given without them too.
"""

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import ClassVar, NamedTuple

from xllms.errors import InputError
from xllms.evaluation.benchmark import ACCURACY, BALANCED_ACCURACY, Asked, Benchmark, Item, Metric, Table, Task
from xllms.evaluation.data import Files, Row, field, limited, number
from xllms.metrics.item_statistics import ItemStatistics, accuracy, balanced_accuracy, rate
from xllms.records import Prediction


class Words(NamedTuple):
    """A language of the benchmark: its code here, what stands between the sentences, and how people say yes and no."""

    code: str
    question: str
    no: str
    yes: str
    detokenised: bool = True
    other_noes: tuple[str, ...] = ()
    other_yeses: tuple[str, ...] = ()


LANGUAGES: Mapping[str, Words] = {
    "de": Words("deu_Latn", "richtig", "Nein", "Ja"),
    "en": Words("eng_Latn", "right", "No", "Yes"),
    "es": Words("spa_Latn", "verdad", "No", "Sí"),
    "fr": Words("fra_Latn", "n'est-ce pas", "Non", "Oui"),
    "ja": Words("jpn_Jpan", "ですね", "いいえ", "はい", False, ("いいえです",), ("はいです",)),
    "ko": Words("kor_Hang", "맞죠", "아니요", "예", False, ("아니오", "아뇨"), ("네",)),
    "zh": Words("zho_Hans", "对吧", "不是", "是", False, ("不", "否", "不是的", "不对"), ("是的", "对", "对的")),
}
_FILE = {"validation": "dev_2k", "test": "test_2k"}
_PLACEHOLDER = "placeholder"
_ANSWERS = ("no", "yes")
_CLAUSE_END = re.compile(r"[\n.,;:!?¡¿()\[\]*_`\"“”„«»–—。，、；：！？（）「」『』]+| - ")


class PawsX(Benchmark):
    """Accuracy, plain and balanced, by likelihood or of a written yes or no."""

    name = "paws_x"
    metrics: ClassVar[Mapping[str, Metric]] = {
        "accuracy": ACCURACY,
        "balanced_accuracy": BALANCED_ACCURACY,
        "accuracy_without_placeholders": Metric("Accuracy without NS", scale=1),
    }

    def tables(self, asked: Asked) -> Iterator[Table]:
        """`paws_x.ranked` and `paws_x.written`."""
        files = Files(asked, self.name)
        ways = asked.ways
        tasks: dict[str, list[Task]] = {way: [] for way in ways}
        from_dev = []
        for folder, words in LANGUAGES.items():
            rows = files.rows(_names(folder, asked.options.split), folder) if asked.wants(words.code) else None
            if rows is None:
                continue
            split = _split(rows, files, asked)
            if split == "validation" and not asked.options.split:
                from_dev.append(folder)
            solved = _solved(files, folder, asked)
            rows = _whole(rows, folder)
            for way in ways:
                make = _ranked if way == "ranked" else _written
                items = (make(row, folder, split, _shots(solved, row, asked)) for row in limited(rows, asked))
                tasks[way].append(Task(words.code, words.code, tuple(items)))
        files.close()
        if from_dev:
            print(f"paws_x: no test file, so the dev file is asked: {', '.join(from_dev)}", file=sys.stderr)
        if "ranked" in tasks:
            yield Table("paws_x.ranked", tasks["ranked"])
        if "written" in tasks:
            yield Table("paws_x.written", tasks["written"], asked.options.max_new_tokens or 512)

    def parse(self, item: Item, output: str) -> str | None:
        """Yes or no, in English or the item's language.

        The answer is cut into clauses at its punctuation, and the first that is such a word, or ends in one ("I would
        say yes"), decides. One that holds both ("yes or no") says neither; a "no" elsewhere ("there is no difference")
        is no answer.
        """
        words = LANGUAGES[item.id.split(":")[1]]
        noes = {"no", words.no.casefold(), *words.other_noes}
        yeses = {"yes", words.yes.casefold(), *words.other_yeses}
        for clause in _CLAUSE_END.split(output.casefold()):
            said = [word.strip("'’‘") for word in clause.replace("/", " ").split()]
            if said and said[-1] in noes | yeses:
                both = noes.intersection(said) and yeses.intersection(said)
                return None if both else _ANSWERS[said[-1] in yeses]
        return None

    def statistics(self, predictions: Sequence[Prediction]) -> Mapping[str, ItemStatistics]:
        """Both accuracies, and the plain one over the items that are sentences."""
        correct = [p.correct for p in predictions]
        found = {
            "accuracy": accuracy(correct),
            "balanced_accuracy": balanced_accuracy(correct, [p.reference for p in predictions]),
        }
        sentences = [p.kind != _PLACEHOLDER for p in predictions]
        return found | {"accuracy_without_placeholders": rate(correct, sentences)} if any(sentences) else found


def _names(folder: str, split: str | None) -> list[str]:
    splits = [split] if split else ["test", "validation"]
    return [f"{folder}/{_FILE.get(one, one)}.tsv" for one in splits]


def _split(rows: Sequence[Row], files: Files, asked: Asked) -> str:
    """Which split the rows are of: all of them number their items from 1."""
    named = asked.options.split or ("test" if files.hub else Path(rows[0][0]).name.partition(".")[0])
    return next((split for split, file in _FILE.items() if file == named), named)


def _whole(rows: Sequence[Row], folder: str) -> list[Row]:
    """Rows with both sentences and a label; in some languages one to three have none."""
    kept = [row for row in rows if _label(row) and field(row, "sentence1").strip() and field(row, "sentence2").strip()]
    if not kept:
        raise InputError(f"{rows[0][0]}: not one of the {len(rows)} rows of {folder} has sentences and a label")
    if left_out := len(rows) - len(kept):
        print(f"paws_x: {folder}: left out {left_out} rows without a label or a sentence", file=sys.stderr)
    return kept


def _label(row: Row) -> str:
    """The label as text, empty where the field is there and holds none."""
    if "label" in row[1] and row[1]["label"] in (None, ""):
        return ""
    return field(row, "label").strip()


def _solved(files: Files, folder: str, asked: Asked) -> Sequence[Row]:
    """What examples are taken from: the dev split."""
    if not asked.options.shots:
        return ()
    rows = files.rows(_names(folder, "validation"), folder, "validation")
    if rows is None:
        raise InputError(
            f"{files.root / _names(folder, 'validation')[0]}: no such file; evaluation.paws_x.shots takes its examples "
            "from it, without it they must be 0"
        )
    return _whole(rows, folder)


def _shots(solved: Sequence[Row], row: Row, asked: Asked) -> list[Row]:
    """The first examples, the same for every item; an item that is one of them gets the next instead of itself."""
    return list(islice((shot for shot in solved if shot[0] != row[0]), asked.options.shots))


def _ranked(row: Row, folder: str, split: str, shots: Sequence[Row]) -> Item:
    label = number(row, "label", 2)
    return Item(
        id=_id(row, folder, split),
        prompt="".join(f"{sentences(shot, folder)[number(shot, 'label', 2)]}\n\n" for shot in shots),
        reference=_ANSWERS[label],
        choices=sentences(row, folder),
        gold=label,
        kind=_kind(row),
    )


def sentences(row: Row, folder: str) -> tuple[str, str]:
    """The pair as one sentence that denies and one that affirms that both say the same."""
    words = LANGUAGES[folder]
    first, second = field(row, "sentence1"), field(row, "sentence2")
    if words.detokenised:
        first, second = _detokenised(first), _detokenised(second)
        first = first[:-1] if first.endswith((".", ",", ";")) else first
        second = second[:1].lower() + second[1:]
    return f"{first}, {words.question}? {words.no}, {second}", f"{first}, {words.question}? {words.yes}, {second}"


def _detokenised(sentence: str) -> str:
    for apart, joined in ((" n't", "n't"), (" )", ")"), ("( ", "("), ('" ', '"'), (' "', '"')):
        sentence = sentence.replace(apart, joined)
    return re.sub(r" (['.,])", r"\1", sentence).strip()


def _written(row: Row, folder: str, split: str, shots: Sequence[Row]) -> Item:
    solved = "".join(f"{_prompt(shot)}\n{_ANSWERS[number(shot, 'label', 2)]}\n\n" for shot in shots)
    return Item(
        id=_id(row, folder, split),
        prompt=solved + _prompt(row),
        reference=_ANSWERS[number(row, "label", 2)],
        kind=_kind(row),
    )


def _prompt(row: Row) -> str:
    return (
        f"The following are two sentences:\nSentence1: {field(row, 'sentence1')}\nSentence2: "
        f"{field(row, 'sentence2')}.\nYou should provide a yes or no answer to the question: Does Sentence1 paraphrase "
        "Sentence2?\nPlease only return either yes or no."
    )


def _id(row: Row, folder: str, split: str) -> str:
    return f"paws_x:{folder}:{split}:{field(row, 'id')}"


def _kind(row: Row) -> str:
    return _PLACEHOLDER if "NS" in (field(row, "sentence1").strip(), field(row, "sentence2").strip()) else ""


benchmark = PawsX()
