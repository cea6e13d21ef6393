"""The trainer: one effective batch is one effective batch however it is cut, and every language has its loss."""

import json
from pathlib import Path

import pytest
import torch

from tests.tiny import tiny_model
from xllms.errors import InputError
from xllms.models import Loaded
from xllms.models.loading import base_of
from xllms.packing import TokenSequence
from xllms.recipe import LoraSettings, SftSettings
from xllms.training.adapters import add_lora
from xllms.training.examples import Example
from xllms.training.objectives import sft
from xllms.training.seeding import seed_everything
from xllms.training.trainer import train

LANGUAGES = ("deu_Latn", "swh_Latn", "tha_Thai")
# Completions of different lengths: a mean of the parts' means would not be the mean of the whole.
EXAMPLES = [
    Example(LANGUAGES[i % 3], (TokenSequence((1, 5, 6 + i % 4), (*range(10, 12 + (i * 7) % 9), 2)),)) for i in range(24)
]


def trained(folder: Path, architecture: str = "llama", **settings: object) -> dict[str, torch.Tensor]:
    loaded = Loaded(tiny_model(architecture), None, "padded" if architecture == "bloom" else "trie")  # type: ignore[arg-type]
    seed_everything(0)
    loaded.model.requires_grad_(False)
    loaded.model = add_lora(base_of(loaded), LoraSettings(r=2))
    made = SftSettings.model_validate({"learning_rate": 1e-2, "warmup_steps": 0, "log_every": 1, **settings})
    train("sft", loaded, sft, EXAMPLES[:20], EXAMPLES[20:], made, 0, folder)
    return {name: p.detach().clone() for name, p in loaded.model.named_parameters() if p.requires_grad}


def test_accumulated_steps_equal_whole_ones(tmp_path: Path) -> None:
    whole = trained(tmp_path / "whole", batch_size=8)
    parts = trained(tmp_path / "parts", batch_size=4, gradient_accumulation=2)
    assert whole
    for name, want in whole.items():
        assert torch.allclose(parts[name], want, atol=1e-5), name


def test_every_language_has_its_loss_and_count(tmp_path: Path) -> None:
    trained(tmp_path, batch_size=8)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    steps = [line for line in lines if line["split"] == "train"]
    assert [line["step"] for line in steps] == [1, 2, 3]
    assert sum(row["n"] for line in steps for row in line["languages"].values()) == 20
    (validation,) = [line for line in lines if line["split"] == "validation"]
    assert set(validation["languages"]) == set(LANGUAGES)
    assert validation["n"] == 4


def test_an_architecture_that_runs_padded_learns_too(tmp_path: Path) -> None:
    trained(tmp_path, "bloom", batch_size=4, epochs=4)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if line["split"] == "train"]
    assert losses[-1] < losses[0]


def test_a_launch_with_several_processes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match="one process"):
        trained(tmp_path, batch_size=4)


def test_a_loss_that_is_no_number_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="not a number"):
        trained(tmp_path, batch_size=4, learning_rate=1e30, max_grad_norm=1e30, epochs=20, weight_decay=0.0)
