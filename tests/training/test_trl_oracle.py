"""TRL as the oracle: its own trainers and ours give one loss, one gradient and the same log-probabilities.

The same token ids of real records, the same tiny model and the same adapter, with B not zero. TRL's side is its
collator, its `compute_loss` and its loss functions; nothing of it is rewritten here.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.conftest import shared_data
from tests.tiny import with_lora
from xllms.packing import TokenSequence, token_logprobs
from xllms.prompting import PromptTemplate
from xllms.recipe import DpoSettings
from xllms.training.examples import Batch, Example
from xllms.training.objectives import Objective, Outcome, sft
from xllms.training.preference_losses import preference

trl = pytest.importorskip("trl", reason="TRL is not installed: pip install -e '.[dev]'")
datasets = pytest.importorskip("datasets")

TOLERANCE = 1e-4
PAIRS = 3


@dataclass
class Result:
    """One batch: loss, gradient of every adapter weight by name, summed log-probability of each sequence."""

    loss: float
    gradient: dict[str, Tensor]
    logprobs: Tensor


# Ours


def ours(model: nn.Module, examples: list[Example], objective: Objective) -> Result:
    """The whole batch as one trie."""
    batch = Batch.collate(examples)
    logprobs = token_logprobs(model, batch.trie)
    outcome: Outcome = objective(logprobs, batch)
    loss = outcome.total / outcome.items
    model.zero_grad(set_to_none=True)
    loss.backward()
    return Result(float(loss.detach()), _gradient(model), batch.trie.sum_by_sequence(logprobs).detach())


def with_reference(model: Any, examples: list[Example]) -> list[Example]:
    """The reference is the model without its adapter, as it is TRL's."""
    with torch.no_grad(), model.disable_adapter():
        return [
            e.with_reference(trie.sum_by_sequence(token_logprobs(model, trie)).tolist())
            for e in examples
            for trie in [Batch.collate([e]).trie]
        ]


# TRL's


def trl_sft(folder: Path, examples: list[Example], output: Path, **settings: Any) -> Result:
    """SFTTrainer on the examples as one batch."""
    rows = [
        {"input_ids": [*s.prompt, *s.completion], "labels": [-100] * len(s.prompt) + list(s.completion)}
        for e in examples
        for s in e.sequences
    ]
    arguments = trl.SFTConfig(**_arguments(output, len(rows)), max_length=1024, **settings)
    trainer = trl.SFTTrainer(
        model=_model(folder),
        args=arguments,
        train_dataset=datasets.Dataset.from_list(rows),
        processing_class=AutoTokenizer.from_pretrained(folder),
    )
    inputs = trainer.data_collator(list(trainer.train_dataset))
    result = _step(trainer, inputs)
    if not settings:  # padding-free rows are one row
        with torch.no_grad():
            result.logprobs = trainer.model(**inputs, fused_lm_head=True).log_probs.sum(1)
    return result


def trl_dpo(folder: Path, examples: list[Example], output: Path, **settings: Any) -> Result:
    """DPOTrainer on the pairs as one batch, with any of its `loss_type`s."""

    class Ready(trl.DPOTrainer):  # type: ignore[misc]
        def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
            return dataset  # token ids already

    rows = [
        {"prompt_ids": [*c.prompt], "chosen_ids": [*c.completion], "rejected_ids": [*r.completion]}
        for c, r in (e.sequences for e in examples)
    ]
    trainer = Ready(
        model=_model(folder),
        args=trl.DPOConfig(**_arguments(output, len(rows)), max_length=1024, **settings),
        train_dataset=datasets.Dataset.from_list(rows),
        processing_class=AutoTokenizer.from_pretrained(folder),
    )
    # DPOTrainer keeps a copy of an adapter that it is given and takes it as the reference; ours is the bare model.
    if "ref" in trainer.model.peft_config:
        trainer.model.delete_adapter("ref")
    inputs = trainer.data_collator(list(trainer.train_dataset))
    result = _step(trainer, inputs)
    labels = inputs["input_ids"].masked_fill(inputs["completion_mask"] == 0, -100)
    with torch.no_grad():
        output_ = trainer.model(
            input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], labels=labels, fused_lm_head=True
        )
    chosen, rejected = output_.log_probs.sum(1).chunk(2)
    result.logprobs = torch.stack([chosen, rejected], 1).flatten()
    return result


def trl_cpo(logprobs: Tensor, lengths: Tensor, *, loss_type: str, **settings: Any) -> Tensor:
    """Losses of TRL's CPOTrainer (cpo: `sigmoid`, simpo, hinge) on (B, 2) summed log-probabilities."""
    trainer = pytest.importorskip("trl.experimental.cpo").CPOTrainer
    values = logprobs / lengths if loss_type in ("simpo", "ipo") else logprobs
    me = SimpleNamespace(
        accelerator=SimpleNamespace(device="cpu"),
        **{"alpha": 0.0, "label_smoothing": 0.0, "loss_type": loss_type, **settings},
    )
    losses: Tensor = trainer.cpo_loss(me, values[:, 0], values[:, 1])[0]
    return losses


def trl_orpo(logprobs: Tensor, lengths: Tensor, *, beta: float) -> Tensor:
    """Losses of TRL's ORPOTrainer without the chosen answer's cross-entropy."""
    trainer = pytest.importorskip("trl.experimental.orpo").ORPOTrainer
    me = SimpleNamespace(accelerator=SimpleNamespace(device="cpu"), beta=beta)
    values = logprobs / lengths
    losses: Tensor = -trainer.odds_ratio_loss(me, values[:, 0], values[:, 1])[0]
    return losses


def _step(trainer: Any, inputs: dict[str, Any]) -> Result:
    trainer.model.train()
    loss = trainer.compute_loss(trainer.model, dict(inputs))
    trainer.model.zero_grad(set_to_none=True)
    loss.backward()
    return Result(float(loss.detach()), _gradient(trainer.model), torch.empty(0))


def _arguments(output: Path, rows: int) -> dict[str, Any]:
    return {
        "output_dir": str(output),
        "per_device_train_batch_size": rows,
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "report_to": "none",
    }


def _model(folder: Path) -> nn.Module:
    return with_lora(AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32))


def _gradient(model: nn.Module) -> dict[str, Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


# Data


@cache
def _rows(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return rows


def _fitting(folder: Path, name: str, texts: Callable[[dict[str, Any]], tuple[str, list[str]]]) -> list[Example]:
    template = PromptTemplate(AutoTokenizer.from_pretrained(folder), "alpaca")
    found = []
    for row in _rows(shared_data("llamafactory_demo", name)):
        prompt, answers = texts(row)
        sequences = tuple(template.sequence(prompt, "", answer) for answer in answers)
        if max(map(len, sequences)) <= 500:
            found.append(Example("eng_Latn", sequences))
        if len(found) == PAIRS:
            break
    assert len(found) == PAIRS
    return found


@pytest.fixture
def instructions(tiny_model_folder: Path) -> list[Example]:
    return _fitting(tiny_model_folder, "alpaca_en_demo.json", lambda row: (row["instruction"], [row["output"]]))


@pytest.fixture
def pairs(tiny_model_folder: Path) -> list[Example]:
    return _fitting(
        tiny_model_folder,
        "dpo_zh_demo.json",
        lambda row: (row["conversations"][0]["value"], [row["chosen"]["value"], row["rejected"]["value"]]),
    )


def assert_same(got: Result, want: Result) -> None:
    assert got.loss == pytest.approx(want.loss, rel=TOLERANCE)
    assert got.gradient.keys() == want.gradient.keys()
    assert got.gradient
    norm = torch.stack([g.norm() for g in want.gradient.values()]).norm()
    assert norm > 0
    for name, gradient in want.gradient.items():
        assert float((got.gradient[name] - gradient).norm()) <= TOLERANCE * float(norm), name


@pytest.mark.parametrize("settings", [{}, {"packing": True, "packing_strategy": "bfd"}], ids=["padded", "packed"])
def test_sft_is_trls(
    tiny_model_folder: Path, instructions: list[Example], tmp_path: Path, settings: dict[str, Any]
) -> None:
    got = ours(_model(tiny_model_folder), instructions, sft)
    want = trl_sft(tiny_model_folder, instructions, tmp_path, **settings)
    assert_same(got, want)
    if not settings:
        torch.testing.assert_close(got.logprobs, want.logprobs, rtol=TOLERANCE, atol=0)


def test_sft_on_all_tokens_is_trls(tiny_model_folder: Path, instructions: list[Example], tmp_path: Path) -> None:
    whole = []
    for example in instructions:
        (sequence,) = example.sequences
        ids = sequence.prompt + sequence.completion
        whole.append(Example(example.language, (TokenSequence(ids[:1], ids[1:]),)))
    assert_same(ours(_model(tiny_model_folder), whole, sft), trl_sft(tiny_model_folder, whole, tmp_path))


# Our settings, TRL's for the same loss, and over how many pairs: TRL's `aot` is label smoothing as we mean it where
# there is one pair (over more it sorts), and its `sft` term is a mean over all tokens where ours is one over pairs.
# Its `robust` is another loss: label smoothing without bias (Chowdhury et al. 2024).
DPO = {
    "dpo": ({"loss": "dpo", "beta": 0.1}, {"loss_type": ["sigmoid"], "beta": 0.1}, PAIRS),
    "dpo_strong": ({"loss": "dpo", "beta": 0.5}, {"loss_type": ["sigmoid"], "beta": 0.5}, PAIRS),
    "dpo_norm": ({"loss": "dpo_norm", "beta": 5.0}, {"loss_type": ["sigmoid_norm"], "beta": 5.0}, PAIRS),
    "ipo": ({"loss": "ipo", "beta": 0.5}, {"loss_type": ["ipo"], "beta": 0.5}, PAIRS),
    "smoothed": (
        {"loss": "dpo", "beta": 0.5, "label_smoothing": 0.2},
        {"loss_type": ["aot"], "beta": 0.5, "label_smoothing": 0.2},
        1,
    ),
    "with_nll": (
        {"loss": "dpo", "beta": 0.1, "nll_weight": 4.0},
        {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, 4.0], "beta": 0.1},
        1,
    ),
}


@pytest.mark.parametrize("name", DPO)
def test_preference_losses_are_trls(tiny_model_folder: Path, pairs: list[Example], tmp_path: Path, name: str) -> None:
    settings, theirs, count = DPO[name]
    model = _model(tiny_model_folder)
    examples = with_reference(model, pairs[:count])
    got = ours(model, examples, preference(DpoSettings(**settings)))
    want = trl_dpo(tiny_model_folder, examples, tmp_path, **theirs)
    assert_same(got, want)
    torch.testing.assert_close(got.logprobs, want.logprobs, rtol=TOLERANCE, atol=0)


REFERENCE_FREE: dict[str, tuple[dict[str, Any], Callable[[Tensor, Tensor], Tensor]]] = {
    "cpo": ({"beta": 0.1}, lambda p, n: trl_cpo(p, n, loss_type="sigmoid", beta=0.1)),
    "simpo": (
        {"beta": 2.0, "simpo_margin": 0.5},
        lambda p, n: trl_cpo(p, n, loss_type="simpo", beta=2.0, simpo_gamma=0.5),
    ),
    "orpo": ({"beta": 0.1}, lambda p, n: trl_orpo(p, n, beta=0.1)),
}


@pytest.mark.parametrize("name", REFERENCE_FREE)
def test_losses_without_reference_are_trls(tiny_model_folder: Path, pairs: list[Example], name: str) -> None:
    settings, theirs = REFERENCE_FREE[name]
    got = ours(_model(tiny_model_folder), pairs, preference(DpoSettings(loss=name, nll_weight=0.0, **settings)))
    lengths = torch.tensor([[float(len(s.completion)) for s in e.sequences] for e in pairs])
    want = theirs(got.logprobs.view(-1, 2), lengths)
    assert got.loss == pytest.approx(float(want.mean()), rel=TOLERANCE)
