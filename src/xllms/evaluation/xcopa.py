"""Benchmark `xcopa`: choice of plausible alternatives (Ponti et al. 2020) by likelihood ranking.

The premise, a connector in the language (because / therefore) and a choice are read as one text; the choice with the
higher log-probability wins. Both choices share the premise, so a batch is one trie.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import ConfigDict

from xllms.errors import InputError
from xllms.languages import get
from xllms.models import Loaded
from xllms.packing.logprobs import token_logprobs
from xllms.packing.trie import TokenSequence, Trie
from xllms.records import Prediction, Record, parse_record, read_json_lines

METRICS: dict[str, dict[str, Any]] = {"accuracy": {"label": "Accuracy", "higher_is_better": True, "scale": 1}}

# XCOPA's folder -> (code, before a cause, before an effect, space between words).
_LANGUAGES = {
    "en": ("eng_Latn", "because", "therefore", " "),
    "et": ("est_Latn", "sest", "seetõttu", " "),
    "ht": ("hat_Latn", "paske", "donk", " "),
    "id": ("ind_Latn", "karena", "maka", " "),
    "it": ("ita_Latn", "perché", "quindi", " "),
    "qu": ("quy_Latn", "imaraykuchus", "chayrayku", " "),
    "sw": ("swh_Latn", "kwa sababu", "kwa hiyo", " "),
    "ta": ("tam_Taml", "ஏனென்றால்", "எனவே", " "),
    "th": ("tha_Thai", "เพราะ", "ดังนั้น", ""),
    "tr": ("tur_Latn", "çünkü", "bu yüzden", " "),
    "vi": ("vie_Latn", "bởi vì", "vì vậy", " "),
    "zh": ("zho_Hans", "因为", "所以", ""),
}
_BATCH = 16
_PREFIX = {"validation": "val", "test": "test"}


class Item(Record):
    """One line of XCOPA's files."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    premise: str
    choice1: str
    choice2: str
    question: Literal["cause", "effect"]
    label: Literal[0, 1]
    idx: int


@dataclass(frozen=True)
class Task:
    """One language of the benchmark."""

    folder: str
    code: str
    items: tuple[Item, ...]


def read(
    data: Path, split: Literal["validation", "test"], languages: Sequence[str], limit: int | None = None
) -> list[Task]:
    """The items of some languages.

    Args:
        data: folder that holds `xcopa/`, or `xcopa` itself.
        split: `validation` or `test`.
        languages: names of XCOPA's folders, such as sw.
        limit: items per language at most.

    Raises:
        InputError: an unknown language, a missing file, or a line that is no item; names it.
    """
    root = data / "xcopa" if (data / "xcopa").is_dir() else data
    tasks = []
    for folder in languages:
        if folder not in _LANGUAGES:
            raise InputError(f"evaluation.xcopa_languages: XCOPA has no `{folder}`; it has {', '.join(_LANGUAGES)}")
        path = root / folder / f"{_PREFIX[split]}.{folder}.jsonl"
        if not path.exists():
            raise InputError(
                f"{path}: no such file; --data names XCOPA's folder, evaluation.xcopa_languages what it has"
            )
        items = tuple(parse_record(value, Item, f"{path}:{number}") for number, value in read_json_lines(path))
        if not items:
            raise InputError(f"{path}: holds no items; was the download cut off?")
        tasks.append(Task(folder, _LANGUAGES[folder][0], items[:limit]))
    return tasks


def predict(loaded: Loaded, model: str, task: Task) -> list[Prediction]:
    """Log-probability of both choices of every item; the higher wins, a tie goes to the first."""
    predictions = []
    for start in range(0, len(task.items), _BATCH):
        items = task.items[start : start + _BATCH]
        sequences = [sequence for item in items for sequence in _sequences(loaded, task, item)]
        trie = Trie.build(sequences)
        with torch.inference_mode():
            sums = trie.sum_by_sequence(token_logprobs(loaded.model, trie, batching=loaded.batching)).view(-1, 2)
        for item, scores in zip(items, sums.tolist(), strict=True):
            predictions.append(_prediction(item, task, model, scores))
    return predictions


def score(predictions: Sequence[Prediction]) -> dict[str, Any]:
    """Accuracy over one language's items."""
    return {"n": len(predictions), "accuracy": sum(p.correct for p in predictions) / len(predictions)}


def _sequences(loaded: Loaded, task: Task, item: Item) -> Iterator[TokenSequence]:
    context = _context(task, item)
    space = _LANGUAGES[task.folder][3]
    prompt = loaded.template.plain_ids(context)
    for choice in (item.choice1, item.choice2):
        # The choice goes on in the sentence: its first letter is lower case where the script has one.
        text = space + choice[:1].lower() + choice[1:]
        yield TokenSequence(prompt, loaded.template.continuation_ids(text))


def _context(task: Task, item: Item) -> str:
    _, cause, effect, space = _LANGUAGES[task.folder]
    return f"{item.premise.strip().rstrip('.。')}{space}{cause if item.question == 'cause' else effect}"


def _prediction(item: Item, task: Task, model: str, scores: Sequence[float]) -> Prediction:
    choices = (item.choice1, item.choice2)
    picked = 0 if scores[0] >= scores[1] else 1
    return Prediction(
        id=f"xcopa:{task.folder}:{item.idx}",
        benchmark="xcopa",
        model=model,
        language=get(task.code).code,
        kind=item.question,
        prompt=_context(task, item),
        output=choices[picked],
        reference=choices[item.label],
        correct=picked == item.label,
        scores={"choice1": round(scores[0], 4), "choice2": round(scores[1], 4)},
    )
