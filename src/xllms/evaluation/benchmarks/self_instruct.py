"""Benchmark `self_instruct`: 252 tasks as users of applications would set them (Wang et al. 2023), in any language.

English is the authors' own file; another language is a file beside it, named by its code (`swh_Latn.jsonl`,
`sw.jsonl`), of the authors' form or of xllms' own instruction records. chrF++ and ROUGE-L hold an answer against the
one reference, which says little of an open task; who is better, a judge says (`evaluation.judge`): the win rate.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from xllms.errors import InputError
from xllms.evaluation import judge
from xllms.evaluation.benchmark import Asked, Benchmark, Item, Metric, Table, Task
from xllms.evaluation.data import Files, Row, field, limited
from xllms.languages import Language, get
from xllms.metrics.item_statistics import ItemStatistics
from xllms.metrics.rouge import rouge
from xllms.metrics.translation import chrf
from xllms.records import Prediction

ENGLISH = "eng_Latn"
_FILE = "user_oriented_instructions.jsonl"
_TOKENS = 512
# The authors' data set on the hub: English only, in a subset of this name.
_HUB_SUBSET = {"yizhongw/self_instruct": "human_eval"}


class SelfInstruct(Benchmark):
    """chrF++, ROUGE-L, and the win rate where answers were judged."""

    name = "self_instruct"
    judged = True
    metrics: ClassVar[Mapping[str, Metric]] = {**judge.METRICS, "chrf": Metric("chrF++"), "rougeL": Metric("ROUGE-L")}

    def tables(self, asked: Asked) -> Iterator[Table]:
        """One table; both protocols ask the instruction with its input."""
        files = Files(asked, self.name)
        tasks = []
        for language in asked.languages:
            rows = self._rows(files, language)
            if rows is not None:
                items = [item for row in rows for item in _items(row, language)]
                tasks.append(Task(language.code, language.code, limited(items, asked)))
        files.close()
        yield Table(self.name, tasks, asked.options.max_new_tokens or _TOKENS, in_language=True)

    def statistics(self, predictions: Sequence[Prediction]) -> Mapping[str, ItemStatistics]:
        """Over the task's answers."""
        outputs, references = [p.output for p in predictions], [p.reference for p in predictions]
        summary = rouge(outputs, references, get(predictions[0].language))
        return {**judge.statistics(predictions), "chrf": chrf(outputs, references), "rougeL": summary["rougeL"]}

    @staticmethod
    def _rows(files: Files, language: Language) -> list[Row] | None:
        own = [f"{language.code}.jsonl", f"{language.bcp47}.jsonl"]
        subset = _HUB_SUBSET.get(files.hub or "")
        if subset and language.code != ENGLISH:
            return None
        names = [_FILE, *own] if language.code == ENGLISH else own
        return files.rows(names, subset or language.code, "train" if subset else "")


def _items(row: Row, language: Language) -> Iterator[Item]:
    """A task may have several instances; a record of ours is one."""
    where, fields = row
    said = fields.get("language")
    if said is not None and get(str(said)) != language:
        raise InputError(f"{where}: is in {said}, in the file of {language.code}")
    instruction = field(row, "instruction")
    instances = _instances(row)
    for number, instance in enumerate(instances):
        again = f"#{number + 1}" if number else ""
        reference = field((where, instance), "output")
        if not instruction.strip() or not reference.strip():
            raise InputError(f"{where}: an empty instruction or output; every task needs both")
        yield Item(
            id=f"self_instruct:{language.code}:{field(row, 'id')}{again}",
            prompt=instruction,
            reference=reference,
            input=str(instance.get("input") or ""),
            kind=str(fields.get("motivation_app") or fields.get("kind") or ""),
        )


def _instances(row: Row) -> Sequence[Mapping[str, Any]]:
    where, fields = row
    if "instances" not in fields:
        return [fields]
    found = fields["instances"]
    if isinstance(found, Mapping):  # as the hub's data set has it: a list of each field
        inputs, outputs = found.get("input"), found.get("output")
        if isinstance(inputs, list) and isinstance(outputs, list) and len(inputs) == len(outputs) > 0:
            return [{"input": one, "output": other} for one, other in zip(inputs, outputs, strict=True)]
    elif isinstance(found, list) and found and all(isinstance(one, Mapping) for one in found):
        return found
    raise InputError(f"{where}: `instances` is no list of inputs and outputs; is this file of another version?")


benchmark = SelfInstruct()
