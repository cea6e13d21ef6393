"""The trie engine writes what transformers' own `generate` writes."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tiny import tiny_model
from xllms.engines import local
from xllms.engines.local import LocalEngine
from xllms.engines.local_state import places
from xllms.engines.protocol import EngineError, Sampling, before_stop
from xllms.models import Loaded, load
from xllms.packing import choose_batching
from xllms.recipe import ModelSettings

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


def test_a_break_before_the_first_letters_of_its_token_does_not_end_the_line() -> None:
    """A token may hold a break and the letters after it: at the start of an answer, its line goes on."""
    writer = engine("llama")
    words = {token: f"w{token} " if token % 3 else f"\nb{token} " for token in range(131)}

    class Words(IdTemplate):
        stop_ids = frozenset[int]()
        tokenizer = SimpleNamespace(
            decode=lambda ids: "".join(words[i] for i in ids),
            batch_decode=lambda rows: ["".join(words[int(i)] for i in row) for row in rows],
        )

        def decode(self, ids: tuple[int, ...]) -> str:
            return "".join(words[i] for i in ids)

    writer.loaded.template = cast(Any, Words())
    asked = [(f"{3 + i % 7} {4 + i % 5} {i}", "") for i in range(40)]
    whole = writer.answer(asked, 12, Sampling(temperature=1.0))
    assert any(text.startswith("\n") for text in whole)
    lines = writer.write(asked, 12, Sampling(temperature=1.0, one_line=True))
    begun = [line for line in lines if line.text.startswith("b")]
    assert any(line.ended for line in lines)
    assert any(len(line.text.split()) > 1 for line in begun), "the line ended with its first token"


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


@pytest.mark.parametrize("architecture", ["llama", "gemma3", "gpt-oss"])
def test_little_memory_makes_small_batches_and_the_same_answers(architecture: str) -> None:
    batch = [(" ".join(str(3 + (i * j) % 7) for j in range(1, 3 + 5 * (i % 6))), "") for i in range(24)]
    roomy = engine(architecture, batch_size=64)
    narrow = engine(architecture, batch_size=64)
    narrow.memory = 40_000
    assert narrow.answer(batch, 10) == roomy.answer(batch, 10)
    assert narrow.answer(batch, 10, Sampling(1.0, seed=3)) == narrow.answer(batch, 10, Sampling(1.0, seed=3))


def test_a_prompt_without_room_for_an_answer_is_refused_alone() -> None:
    writer = engine("llama")
    context = cast(Any, writer.loaded.model).config.max_position_embeddings
    asked = [("3 4", ""), (" ".join(["5"] * context), ""), (" ".join(["6"] * (context - 2)), "")]
    short, long, last = writer.write(asked, 8)
    assert (short.error, bool(short.text)) == ("", True)
    assert (long.text, long.ended) == ("", False)
    assert f"refused: a prompt of {context} tokens in a context of {context}" in long.error
    assert (last.error, last.ended, len(last.text.split())) == ("", False, 2)  # cut off at the context's end
    assert short.text == writer.answer(asked[:1], 8)[0]


@pytest.mark.parametrize("architecture", ["llama", "gpt-oss"])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_no_number_is_an_error_and_never_an_answer(architecture: str, bad: float) -> None:
    writer = engine(architecture)
    writer.name = "transformers:broken"
    with torch.no_grad():
        cast(Any, writer.loaded.model).get_output_embeddings().weight[7] = bad
    for sampling in (Sampling(), Sampling(temperature=1.0)):
        with pytest.raises(EngineError, match=r"transformers:broken: .*not numbers .*float32.*damaged") as caught:
            writer.write([("3 4", ""), ("4 5 6", "")], 8, sampling)
        assert "\n" not in str(caught.value)


def test_a_model_that_says_nothing_but_its_end_gives_empty_answers_that_ended() -> None:
    writer = engine("llama")
    cast(Any, writer.loaded).template = SimpleNamespace(
        stop_ids=frozenset(range(131)), prompt_ids=IdTemplate().prompt_ids, decode=IdTemplate().decode
    )
    for sampling in (Sampling(), Sampling(1.0)):
        answers = writer.write([("3 4", ""), ("5", "")], 6, sampling)
        assert [(answer.text, answer.ended, answer.error) for answer in answers] == [("", True, "")] * 2
    assert writer.usage.output_tokens == 0


def test_an_answer_ends_before_a_stop(tiny_model_folder: Path) -> None:
    writer = LocalEngine(load(ModelSettings(name=str(tiny_model_folder), dtype="float32", device="cpu"), "alpaca"))
    asked = [(f"What is {word} called?", "") for word in ("it", "this", "an instruction", "a response")]
    whole = writer.write(asked, 24)
    stops = tuple({answer.text[at : at + 2] for answer, at in zip(whole, (3, 9), strict=False)})
    stopped = writer.write(asked, 24, Sampling(stop=(*stops, "never said")))
    assert [answer.text for answer in stopped] == [before_stop(answer.text, stops).strip() for answer in whole]
    for before, after in zip(whole, stopped, strict=True):
        assert after.ended == (before.ended or len(before_stop(before.text, stops)) < len(before.text))
    assert any(answer.ended for answer in stopped)
    assert writer.write(asked, 24, Sampling(stop=("never said",))) == whole
    spent = writer.usage.output_tokens
    writer.write(asked, 24, Sampling(stop=stops))
    assert writer.usage.output_tokens - spent < 24 * len(asked)


@given(st.lists(st.booleans(), min_size=1, max_size=40).filter(lambda ended: not all(ended)))
def test_the_last_answers_take_the_places_of_those_that_ended(ended: list[bool]) -> None:
    rows = places(torch.tensor(ended)).tolist()
    assert sorted(rows) == [row for row, gone in enumerate(ended) if not gone]
    assert all(row == place or (row > place and ended[place]) for place, row in enumerate(rows))


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 5), st.sampled_from([131, 1024, 1500, 4096, 5000]), st.integers(2, 9))
def test_the_likeliest_token_is_the_first_of_the_largest(seed: int, rows: int, vocabulary: int, levels: int) -> None:
    logits = torch.randint(levels, (rows, vocabulary), generator=torch.Generator().manual_seed(seed)).float()
    logits[:, torch.randint(vocabulary, (3,))] = 20.0
    assert torch.equal(local._argmax(logits), logits.argmax(-1))
    logits[0, vocabulary // 2] = float("nan")
    assert bool(logits[0, local._argmax(logits)[0]].isnan())
