"""Records that are too long: by a stated rule, counted per language, and said with the count."""

import pytest

from tests.small_tokenizers import small_tokenizer
from xllms.prompting import PromptTemplate
from xllms.records import Instruction, Preference, Ranking
from xllms.training.examples import encode_instructions, encode_preferences

TEMPLATE = PromptTemplate(small_tokenizer(), "alpaca")


def record(number: int, words: int, language: str = "swh_Latn") -> Instruction:
    return Instruction(id=str(number), instruction="Say it", output="a " * words, language=language, source="test")


def length(words: int) -> int:
    (example,) = encode_instructions([record(0, words)], TEMPLATE, 10_000).examples
    return example.tokens


def test_what_is_too_long_is_dropped_and_counted() -> None:
    records = [record(0, 3), record(1, 60), record(2, 60, "amh_Ethi"), record(3, 60, "amh_Ethi")]
    encoded = encode_instructions(records, TEMPLATE, length(3))
    assert [example.id for example in encoded.examples] == ["0"]
    assert encoded.too_long == {"amh_Ethi": 2, "swh_Latn": 1}
    said = encoded.warning("sft", length(3), "drop")
    assert said == (f"sft: 3 records of over {length(3)} tokens left out (amh_Ethi 2, swh_Latn 1); see sft.max_length")
    assert encode_instructions(records, TEMPLATE, 10_000).warning("sft", 10_000, "drop") is None


def test_truncation_cuts_the_completion_and_its_end_is_not_learnt() -> None:
    limit = length(3)
    (whole,) = encode_instructions([record(0, 60)], TEMPLATE, 10_000).examples
    encoded = encode_instructions([record(0, 60)], TEMPLATE, limit, "truncate")
    (cut,) = encoded.examples
    assert cut.tokens == limit
    assert cut.sequences[0].prompt == whole.sequences[0].prompt
    assert cut.sequences[0].completion == whole.sequences[0].completion[: len(cut.sequences[0].completion)]
    assert encoded.too_long == {"swh_Latn": 1}
    assert "cut off" in str(encoded.warning("sft", limit, "truncate"))
    # Nothing of the answer would be left: dropped all the same.
    assert encode_instructions([record(0, 60)], TEMPLATE, len(whole.sequences[0].prompt), "truncate").examples == []


def test_the_loss_on_all_tokens_scores_everything_but_the_first() -> None:
    (completion,) = encode_instructions([record(0, 3)], TEMPLATE, 1000).examples
    (whole,) = encode_instructions([record(0, 3)], TEMPLATE, 1000, loss_on="all").examples
    assert whole.scored == completion.tokens - 1
    assert whole.sequences[0].prompt == completion.sequences[0].prompt[:1]
    assert whole.tokens == completion.tokens


@pytest.mark.parametrize("kind", ["pair", "ranking"])
def test_answers_of_one_prompt_are_one_example_best_first(kind: str) -> None:
    base = {"id": "x", "instruction": "Say it", "language": "swh_Latn"}
    answers = ("yes", "no") if kind == "pair" else ("yes", "no", "maybe", "never")
    one = (
        Preference(**base, chosen="yes", rejected="no", chosen_reason="", rejected_reason="")
        if kind == "pair"
        else Ranking(**base, answers=answers)
    )
    (example,) = encode_preferences([one], TEMPLATE, 1000).examples
    want = [TEMPLATE.sequence("Say it", "", answer) for answer in answers]
    assert list(example.sequences) == want
    assert example.nodes < example.tokens - len(want[0].prompt)
