"""The engine `vllm` against a stand-in for vLLM, which is not installed here: what is asked of it, and what comes back.

The stand-in refuses a whole batch for one prompt that leaves no room for an answer, as vLLM's `generate` does.
"""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from xllms.engines.protocol import EngineError, Sampling
from xllms.engines.vllm import VllmEngine
from xllms.recipe import VllmSettings

CONTEXT = 200


class StandIn:
    """`vllm.LLM`: answers each prompt with its number of tokens."""

    reason = "stop"

    def __init__(self, model: str, max_model_len: int | None, **settings: Any) -> None:
        self.llm_engine = SimpleNamespace(model_config=SimpleNamespace(max_model_len=max_model_len or CONTEXT))

    def generate(self, prompts: list[dict[str, list[int]]], drawn: list[Any], lora_request: Any) -> list[Any]:
        assert len(prompts) == len(drawn)
        room = self.llm_engine.model_config.max_model_len
        lengths = [len(prompt["prompt_token_ids"]) for prompt in prompts]
        if any(length >= room for length in lengths):
            raise ValueError("The decoder prompt is longer than the maximum model length")
        return [
            SimpleNamespace(
                outputs=[SimpleNamespace(text=f" \n{n}\nmore ", token_ids=[1, 2], finish_reason=self.reason)]
            )
            for n in lengths
        ]


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch, tiny_model_folder: Path) -> Iterator[Callable[..., VllmEngine]]:
    module = ModuleType("vllm")
    module.LLM = StandIn  # type: ignore[attr-defined]
    module.SamplingParams = SimpleNamespace  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "vllm", module)
    yield lambda **more: VllmEngine(VllmSettings(name=str(tiny_model_folder), **more))


def test_a_prompt_that_does_not_fit_is_refused_alone(make: Callable[..., VllmEngine]) -> None:
    engine = make()
    answers = engine.write([("a", ""), ("word " * 300, ""), ("b b b", "")], 8)
    assert [bool(answer.error) for answer in answers] == [False, True, False]
    assert "refused: a prompt of" in answers[1].error
    assert f"in a context of {CONTEXT}" in answers[1].error
    assert (answers[1].text, answers[1].ended) == ("", False)
    assert int(answers[0].text.split()[0]) < int(answers[2].text.split()[0])
    assert engine.usage.requests == 2


def test_none_of_them_fits(make: Callable[..., VllmEngine]) -> None:
    engine = make(max_length=8)
    assert all(answer.error for answer in engine.write([("a", ""), ("b", "")], 8))
    assert engine.usage.requests == 0


def test_one_line_and_draws_apart(make: Callable[..., VllmEngine]) -> None:
    engine = make()
    (answer,) = engine.write([("a", "")], 8, Sampling(one_line=True))
    assert "more" not in answer.text
    assert answer.text.isdigit()
    drawn = [engine._parameters(8, Sampling(temperature=1.0, seed=3), number, None).seed for number in (0, 1)]
    assert drawn == [3, 4]


@pytest.mark.skipif("vllm" in sys.modules, reason="vLLM is installed")
def test_without_vllm_the_way_to_get_it_is_named(tiny_model_folder: Path) -> None:
    with pytest.raises(EngineError, match="pip install vllm"):
        VllmEngine(VllmSettings(name=str(tiny_model_folder)))


def test_a_line_that_was_finished_is_whole_whatever_came_after_it(
    make: Callable[..., VllmEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StandIn, "reason", "length")
    engine = make()
    (line,) = engine.write([("a", "")], 8, Sampling(one_line=True))
    (text,) = engine.write([("a", "")], 8)
    assert (line.ended, text.ended) == (True, False)
    assert text.text == f"{line.text}\nmore"
