"""Ranking through one trie gives what each text alone gives, in every architecture and for every batch size."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, processors, trainers
from torch import nn
from transformers import PreTrainedTokenizerFast

from tests.conftest import shared_data
from tests.tiny import tiny_model, with_lora
from xllms.errors import InputError, XllmsError
from xllms.evaluation.ranking import Question, Ranked, pair_ids, rank
from xllms.models import Loaded, load
from xllms.packing.logprobs import Batching, base_model
from xllms.prompting import PromptTemplate
from xllms.recipe import ModelSettings
from xllms.records import read_json_lines

# Few letters, and merges over spaces and line ends: prefixes are shared, and choices melt with their contexts.
texts = st.text("ab .\n", max_size=24)
questions = st.lists(st.tuples(texts, st.lists(st.text("ab .\n", min_size=1, max_size=9), min_size=1, max_size=4)))
SHOTS = "abba. baba b. aab bab abab.\nbb a. abbab aa b ab. a bb ab\n" * 2


@functools.cache
def tokenizer(adds_bos: bool = True) -> PreTrainedTokenizerFast:
    inner = Tokenizer(models.BPE())
    specials = ["<pad>", "<bos>", "<eos>"]
    trainer = trainers.BpeTrainer(vocab_size=40, special_tokens=specials, show_progress=False)
    inner.train_from_iterator(["ab ba.\nabba b. a b\n ab. ba a", "bb ab aa.\n a b x"], trainer)
    if adds_bos:
        inner.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>")


@functools.cache
def tiny(architecture: str, batching: Batching = "trie", adds_bos: bool = True) -> Loaded:
    return Loaded(tiny_model(architecture), PromptTemplate(tokenizer(adds_bos), "alpaca"), batching)


def lmeval_ids(context: str, choice: str, adds_bos: bool = True) -> tuple[list[int], list[int]]:
    """As lm-evaluation-harness' documentation has it, by the tokenizer's own encoding with BOS."""
    encode = tokenizer(adds_bos).encode
    if not context:
        return [1], encode(choice, add_special_tokens=False)
    spaces = len(context) - len(context.rstrip())
    if spaces:
        context, choice = context[:-spaces], context[-spaces:] + choice
    prompt = encode(context)
    return prompt, encode(context + choice)[len(prompt) :]


def alone(model: nn.Module, prompt: Sequence[int], completion: Sequence[int]) -> float:
    ids = torch.tensor([[*prompt, *completion]])
    with torch.no_grad():
        logprobs = model(input_ids=ids[:, :-1]).logits[0].double().log_softmax(-1)[len(prompt) - 1 :]
    return float(logprobs.gather(1, ids[0, len(prompt) :, None]).sum())


def assert_as_alone(loaded: Loaded, asked: Sequence[Question], got: Sequence[Ranked], adds_bos: bool = True) -> None:
    assert len(got) == len(asked)
    for (context, choices), ranked in zip(asked, got, strict=True):
        pairs = [lmeval_ids(context, choice, adds_bos) for choice in choices]
        assert ranked.tokens == tuple(len(completion) for _, completion in pairs)
        want = [alone(loaded.model, *pair) for pair in pairs]
        assert ranked.logprobs == pytest.approx(want, rel=1e-5, abs=1e-4)


def answerable(asked: Sequence[Question]) -> list[Question]:
    """Without choices that melt into their context whole, and contexts of white space, which lm-eval refuses."""
    kept = ((c, [t for t in choices if lmeval_ids(c, t)[1]]) for c, choices in asked)
    return [(context, choices) for context, choices in kept if choices]


@pytest.mark.parametrize("architecture", ["llama", "gemma3", "qwen", "bloom", "gemma2"])
@given(asked=questions, nodes=st.integers(1, 40), shots=st.sampled_from(["", SHOTS]))
@settings(max_examples=25, deadline=None)
def test_every_choice_is_scored_as_if_it_stood_alone(
    architecture: str, asked: list[Question], nodes: int, shots: str
) -> None:
    asked = answerable([(shots + context, choices) for context, choices in asked])
    loaded = tiny(architecture)
    assert_as_alone(loaded, asked, rank(loaded, asked, nodes=nodes))


@pytest.mark.parametrize("architecture", ["llama", "gpt-oss"])
@given(asked=questions, nodes=st.integers(1, 200))
@settings(max_examples=10, deadline=None)
def test_padded_rows_too(architecture: str, asked: list[Question], nodes: int) -> None:
    asked = answerable(asked)
    loaded = tiny(architecture, "padded")
    assert_as_alone(loaded, asked, rank(loaded, asked, nodes=nodes))


def test_adapters_are_honoured() -> None:
    adapted = Loaded(with_lora(tiny_model("gemma3")), tiny("gemma3").template, "trie")
    asked = [(SHOTS + "ab a", [". bb", "\nxab"]), (SHOTS + "ba", [". x"])]
    got = rank(adapted, asked, nodes=10)
    assert_as_alone(adapted, asked, got)
    assert got != rank(tiny("gemma3"), asked)


@pytest.mark.parametrize("architecture", ["llama", "gemma3", "bloom"])
def test_no_node_is_run_twice_however_small_the_batches(architecture: str) -> None:
    loaded = tiny(architecture)
    asked = [(f"{SHOTS}{'ab' * n} b", [" a.", " ba"]) for n in range(12)]
    runs = {pair.prompt + pair.completion[:-1] for c, choices in asked for t in choices
            for pair in [pair_ids(loaded.template, c, t)]}  # fmt: skip
    distinct = {run[: n + 1] for run in runs for n in range(len(run))}
    assert sum(map(len, runs)) > 8 * len(distinct)
    seen: list[int] = []
    embedding = base_model(loaded.model).get_input_embeddings()
    hook = embedding.register_forward_hook(lambda module, args, output: seen.append(args[0].numel()))
    got = rank(loaded, asked, nodes=16)
    hook.remove()
    assert len(seen) > 3
    assert sum(seen) == len(distinct)
    assert_as_alone(loaded, asked, got)


def test_each_language_with_shots_of_its_own_runs_them_once() -> None:
    loaded = tiny("llama")
    other = SHOTS[::-1]
    asked = [(shots + end, ["x a", ". b."]) for end in ("ab", "ba", "aa b") for shots in (SHOTS, other)]
    assert_as_alone(loaded, asked, rank(loaded, asked, nodes=8))


def test_bos_stands_once() -> None:
    template = tiny("llama").template
    assert pair_ids(template, "ab", " ba").prompt.count(1) == 1
    assert pair_ids(template, "<bos>ab", " ba") == pair_ids(template, "ab", " ba")
    assert pair_ids(template, "", "ab").prompt == (1,)
    assert pair_ids(template, "", "<bos>ab") == pair_ids(template, "", "ab")
    without = tiny("llama", adds_bos=False)
    assert 1 not in pair_ids(without.template, "ab", " ba").prompt
    asked = [("ab", [" ba", "."]), ("", ["ab"])]
    assert_as_alone(without, asked, rank(without, asked), adds_bos=False)


def test_white_space_alone_is_no_context_for_a_model_without_bos() -> None:
    sequence = pair_ids(tiny("llama", adds_bos=False).template, "\n", "ab")
    assert sequence.prompt == (1,)
    assert sequence.completion


def test_too_long_a_context_loses_its_left() -> None:
    loaded = tiny("llama")
    length = base_model(loaded.model).config.max_position_embeddings
    asked = [("a b." * 200 + "ab", [" ba. a", " b"]), ("ab", [" b"])]
    got = rank(loaded, asked)
    for choice, logprob in zip(asked[0][1], got[0].logprobs, strict=True):
        prompt, completion = lmeval_ids(asked[0][0], choice)
        prompt = [*prompt, *completion][-(length + 1) : -len(completion)]
        assert logprob == pytest.approx(alone(loaded.model, prompt, completion), rel=1e-5)
    longest = max(sum(map(len, lmeval_ids(asked[0][0], choice))) for choice in asked[0][1])
    assert [ranked.truncated for ranked in got] == [longest - length - 1, 0]


@pytest.mark.parametrize("batching", ["trie", "padded"])
def test_what_is_no_number_is_no_score(batching: Batching) -> None:
    model = tiny_model("llama")
    with torch.no_grad():
        model.get_output_embeddings().weight[7] = float("nan")
    broken = Loaded(model, tiny("llama").template, batching)
    with pytest.raises(XllmsError, match=r"question 1: log-probabilities nan.*no\s+score"):
        rank(broken, [("ab", [" ba", " b"])])


def test_questions_that_cannot_be_ranked_are_named() -> None:
    loaded = tiny("llama")
    with pytest.raises(InputError, match="question 2: has no choices"):
        rank(loaded, [("ab", [" b"]), ("ab", [])])
    with pytest.raises(InputError, match="question 1: choice '' adds no token"):
        rank(loaded, [("ab", [" b", ""])])
    with pytest.raises(InputError, match=r"a choice of \d+ tokens; the model reads 256"):
        rank(loaded, [("ab", [" ba b." * 400])])
    assert rank(loaded, []) == []


def test_the_best_choice_by_each_measure() -> None:
    ranked = Ranked(logprobs=(-6.0, -4.0, -4.0), tokens=(3, 1, 1), characters=(4, 2, 4), bytes=(8, 2, 16))
    assert ranked.best() == 1  # a tie goes to the first
    assert ranked.best("tokens") == 0
    assert ranked.best("characters") == 2
    assert ranked.best("bytes") == 2
    (one,) = rank(tiny("llama"), [("ab", [" ba", " bab."])])
    assert (one.characters, one.bytes) == ((2, 4), (2, 4))


def test_agrees_with_lm_evaluation_harness(tiny_model_folder: Path) -> None:
    pytest.importorskip("lm_eval", reason="lm_eval is not installed; benchmarks/evaluation.py compares with it too")
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    rows: list[dict[str, Any]] = [row for _, row in read_json_lines(shared_data("xcopa", "sw", "val.sw.jsonl"))][:30]
    shots = "".join(f"{row['premise']} {row['choice1']}\n\n" for row in rows[:5])
    asked: list[Question] = [(f"{row['premise']} kwa hiyo", (f" {row['choice1']}", " b")) for row in rows]
    asked += [(f"{shots}{row['premise']}", (f" {row['choice1']}", f" {row['choice2']}")) for row in rows]
    asked += [("", (row["premise"], "x")) for row in rows]
    asked += [("\n", (row["premise"],)) for row in rows] + [(f"{row['premise']}  \n", ("x", "")) for row in rows]
    asked += [(shots * 8, (row["premise"],)) for row in rows[:3]]  # longer than the model reads
    requests = [(context, choice) for context, choices in asked for choice in choices]
    theirs = HFLM(pretrained=str(tiny_model_folder), device="cpu", batch_size=4).loglikelihood(
        [Instance("loglikelihood", {}, pair, 0) for pair in requests], disable_tqdm=True
    )
    got = rank(load(ModelSettings(name=str(tiny_model_folder), dtype="float32"), "alpaca"), asked)
    assert [score for ranked in got for score in ranked.logprobs] == pytest.approx([s for s, _ in theirs], abs=2e-3)
    assert got[-1].truncated > 0
