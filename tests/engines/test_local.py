"""The trie engine writes what transformers' own `generate` writes."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tiny import tiny_model
from xllms.engines.local import LocalEngine
from xllms.engines.protocol import Sampling
from xllms.models import Loaded
from xllms.packing import choose_batching

END = 2
prompts = st.lists(st.lists(st.integers(3, 6), min_size=1, max_size=9).map(tuple), min_size=1, max_size=7)


class IdTemplate:
    """Prompts and answers are ids written as text, so that tiny random models need no tokenizer."""

    stop_ids = frozenset({END})

    def prompt_ids(self, instruction: str, given: str) -> tuple[int, ...]:
        return tuple(int(part) for part in instruction.split())

    def decode(self, ids: tuple[int, ...]) -> str:
        return " ".join(map(str, ids))


def engine(architecture: str, batch_size: int = 4) -> LocalEngine:
    model = tiny_model(architecture)
    template = cast(Any, IdTemplate())
    return LocalEngine(Loaded(model, template, choose_batching(model)[0]), batch_size)


def generate_alone(model: Any, prompt: tuple[int, ...], limit: int) -> str:
    ids = torch.tensor([prompt])
    output = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=limit,
        do_sample=False,
        eos_token_id=END,
        pad_token_id=0,
    )[0, len(prompt) :].tolist()
    return " ".join(map(str, output[: output.index(END)] if END in output else output))


@pytest.mark.parametrize("architecture", ["llama", "qwen", "gemma3", "bloom", "gpt-oss"])
@settings(max_examples=15, deadline=None)
@given(batch=prompts)
def test_greedy_answers_equal_generate_one_by_one(architecture: str, batch: list[tuple[int, ...]]) -> None:
    writer = engine(architecture)
    got = writer.answer([(" ".join(map(str, p)), "") for p in batch], max_new_tokens=8)
    assert got == [generate_alone(writer.loaded.model, p, 8) for p in batch]


def test_a_one_line_answer_keeps_what_stands_before_the_break_in_the_same_token() -> None:
    """Tokens such as `.` and a line break in one are common; so is a break in front of the answer."""
    writer = engine("llama")
    words = {token: f"w{token} " for token in range(131)} | {token: f"e{token}.\n" for token in range(0, 131, 3)}

    class Words(IdTemplate):
        tokenizer = SimpleNamespace(
            decode=lambda ids: "".join(words[i] for i in ids),
            batch_decode=lambda rows: ["".join(words[int(i)] for i in row) for row in rows],
        )

        def decode(self, ids: tuple[int, ...]) -> str:
            return "".join(words[i] for i in ids)

    writer.loaded.template = cast(Any, Words())
    asked = [(f"{3 + i % 7} {4 + i % 5} 5", "") for i in range(10)]
    whole = writer.answer(asked, 12)
    lines = writer.write(asked, 12, Sampling(one_line=True))
    assert [line.text for line in lines] == [text.splitlines()[0].strip() for text in whole]
    assert any(line.text.endswith(".") and line.ended for line in lines)


def test_an_answer_that_is_cut_off_says_so() -> None:
    writer = engine("llama")
    cast(Any, writer.loaded).template = SimpleNamespace(
        stop_ids=frozenset(), prompt_ids=IdTemplate().prompt_ids, decode=IdTemplate().decode
    )
    assert [answer.ended for answer in writer.write([("3 4", "")], 5)] == [False]


def test_sampling_is_repeatable_and_moves_with_the_seed() -> None:
    writer = engine("llama", batch_size=64)
    asked = [("3 4 5", "")] * 20
    warm = [writer.answer(asked, 12, Sampling(temperature=1.0, top_p=0.95, seed=seed)) for seed in (1, 1, 2)]
    assert warm[0] == warm[1] != warm[2]
    assert len(set(warm[0])) > 5


def test_answers_that_end_early_leave_the_others_alone() -> None:
    """The batch shrinks when an answer ends: with every token an end, nothing is written; with none, all of it."""
    writer = engine("llama")
    cast(Any, writer.loaded).template = SimpleNamespace(
        stop_ids=frozenset(range(0, 131, 3)), prompt_ids=IdTemplate().prompt_ids, decode=IdTemplate().decode
    )
    batch = [(" ".join(str(3 + (i * j) % 7) for j in range(1, 5)), "") for i in range(12)]
    together = writer.answer(batch, 10)
    alone = [writer.answer([prompt], 10)[0] for prompt in batch]
    assert together == alone
    assert len({len(answer.split()) for answer in together}) > 1
