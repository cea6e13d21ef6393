"""Benchmark `facts`: what the instruction data held out, answered greedily; chrF++, exact match, off-target rate."""

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

from xllms.errors import InputError
from xllms.evaluation.benchmark import EXACT_MATCH, Asked, Benchmark, Item, Metric, Table, Task
from xllms.evaluation.data import limited
from xllms.metrics.item_statistics import ItemStatistics, accuracy
from xllms.metrics.text import exact_match
from xllms.metrics.translation import chrf
from xllms.records import Instruction, Prediction
from xllms.splits import read_split


class Facts(Benchmark):
    """Held-out instructions of stage 1."""

    name = "facts"
    metrics: ClassVar[Mapping[str, Metric]] = {"chrf": Metric("chrF++"), "exact_match": EXACT_MATCH}

    def tables(self, asked: Asked) -> Iterator[Table]:
        """One table; records of several lines, where the data have some, stand in one of their own."""
        held_out = read_split(asked.instructions, "evaluation")
        found = {one.code: limited(held_out[one.code], asked) for one in asked.languages if one.code in held_out}
        if not found:
            raise InputError(
                f"{asked.instructions / 'evaluation'}: none of the evaluation languages has held-out facts"
            )
        limit = asked.options.max_new_tokens or asked.max_new_tokens
        for one_line, name in ((True, "facts"), (False, "facts.long")):
            tasks = [
                Task(code, code, items)
                for code, records in found.items()
                if (items := tuple(_item(record) for record in records if record.one_line is one_line))
            ]
            if tasks:
                yield Table(name, tasks, limit, one_line=one_line, in_language=True)

    def correct(self, item: Item, parsed: str | None) -> bool:
        """Equal but for case, Unicode form, outer space and closing punctuation."""
        return parsed is not None and exact_match(parsed, item.reference)

    def statistics(self, predictions: Sequence[Prediction]) -> Mapping[str, ItemStatistics]:
        """chrF++ of the corpus, and the share of exact answers."""
        return {
            "chrf": chrf([p.output for p in predictions], [p.reference for p in predictions]),
            "exact_match": accuracy([p.correct for p in predictions]),
        }


def _item(record: Instruction) -> Item:
    return Item(record.id, record.instruction, record.output, input=record.input, kind=record.kind)


benchmark = Facts()
