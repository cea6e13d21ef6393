"""The trainer: one effective batch is one effective batch however it is cut, and every language has its loss."""

import json
from pathlib import Path

import pytest
import torch
from torch.distributed.checkpoint import FileSystemReader

from tests.tiny import tiny_model
from xllms.errors import InputError, XllmsError
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
    Example(
        LANGUAGES[i % 3],
        (TokenSequence((1, 5, 6 + i % 4), (*range(10, 12 + (i * 7) % 9), 2)),),
        id=f"record-{i}",
    )
    for i in range(24)
]


SETTINGS = SftSettings(learning_rate=1e-2, warmup_steps=0, log_every=1, batch_size=8)


def tuned_model(architecture: str, batching: str = "trie", *, full: bool = False) -> Loaded:
    loaded = Loaded(tiny_model(architecture), None, batching)  # type: ignore[arg-type]
    seed_everything(0)
    loaded.model.requires_grad_(full)
    if not full:
        loaded.model = add_lora(base_of(loaded), LoraSettings(r=2))
    return loaded


def trained(
    folder: Path, architecture: str = "llama", batching: str = "trie", full: bool = False, **settings: object
) -> dict[str, torch.Tensor]:
    loaded = tuned_model(architecture, batching, full=full)
    made = SftSettings.model_validate({**SETTINGS.model_dump(), **settings})
    train("sft", loaded, sft, EXAMPLES[:20], EXAMPLES[20:], made, 0, folder)
    return {name: p.detach().clone() for name, p in loaded.model.named_parameters() if p.requires_grad}


def test_steps_of_many_passes_equal_steps_of_one(tmp_path: Path) -> None:
    whole = trained(tmp_path / "whole", batch_size=8)
    parts = trained(tmp_path / "parts", batch_size=8, token_budget=16)
    assert whole
    for name, want in whole.items():
        assert torch.allclose(parts[name], want, atol=1e-5), name


def test_a_checkpoint_holds_no_frozen_weight(tmp_path: Path) -> None:
    after = trained(tmp_path, "qwen", batch_size=8)  # its frozen head is its embedding: one matrix of two names
    metadata = FileSystemReader(tmp_path / "checkpoints" / "checkpoint-3").read_metadata()
    kept = {name for name in metadata.state_dict_metadata if name.startswith("model.")}
    assert kept == {f"model.model.{name}" for name in after}


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
    trained(tmp_path, "bloom", "padded", batch_size=4, epochs=4)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if line["split"] == "train"]
    assert losses[-1] < losses[0]


def test_a_loss_that_is_no_number_stops_the_run_and_names_the_records(tmp_path: Path) -> None:
    with pytest.raises(XllmsError, match=r"step \d+: the (loss|gradient) is not a number \(records: record-\d+"):
        trained(tmp_path, batch_size=4, learning_rate=1e30, max_grad_norm=1e30, epochs=20, weight_decay=0.0)


def test_memory_that_runs_out_is_answered_with_a_smaller_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def starved(*args: object, **kwargs: object) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("xllms.training.trainer.token_logprobs", starved)
    with pytest.raises(XllmsError, match=r"step 1: out of memory in a pass of 8 examples; set sft.token_budget: 50"):
        trained(tmp_path, batch_size=8, token_budget=100)


def test_all_weights_are_trained_when_tuning_is_full(tmp_path: Path) -> None:
    before = dict(tiny_model("llama").named_parameters())
    after = trained(tmp_path, full=True, batch_size=8, learning_rate=1e-3)
    assert after.keys() == before.keys()
    assert all(not torch.equal(after[name], before[name]) for name in before)


def test_full_tuning_through_tries_equals_padded_batches(tmp_path: Path) -> None:
    settings = {"full": True, "batch_size": 8, "learning_rate": 1e-3}
    tries = trained(tmp_path / "trie", **settings)
    padded = trained(tmp_path / "padded", batching="padded", **settings)
    for name, want in padded.items():
        assert torch.allclose(tries[name], want, atol=2e-4), name


def test_languages_without_validation_examples_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    loaded = tuned_model("llama")
    train("sft", loaded, sft, EXAMPLES[:20], EXAMPLES[21:22], SETTINGS, 0, tmp_path)
    assert "2 languages have no validation examples to follow: Swahili, Thai" in capsys.readouterr().err


def test_the_plan_is_printed_before_training_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trained(tmp_path, batch_size=8, sampling={"kind": "unimax", "cap": 1})
    said = capsys.readouterr().err
    assert "sft: 20 examples in 3 steps" in said
    assert said.index("Swahili (swh_Latn)") < said.index("3/3 steps")
    kept = json.loads((tmp_path / "mix.json").read_text())
    assert {row["language"]: row["draws"] for row in kept} == {"deu_Latn": 7, "swh_Latn": 7, "tha_Thai": 6}


def test_a_tracker_gets_every_figure(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    loaded = tuned_model("llama")
    train("sft", loaded, sft, EXAMPLES[:20], EXAMPLES[20:], SETTINGS, 0, tmp_path, ["tensorboard"])
    (folder,) = {path.parent for path in tmp_path.rglob("events.out.tfevents.*")}
    events = EventAccumulator(str(folder)).Reload()
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    want = [line["languages"]["swh_Latn"]["loss"] for line in lines if line["split"] == "train"]
    assert [event.value for event in events.Scalars("train/loss/swh_Latn")] == pytest.approx(want)
    assert events.Scalars("eval/loss/deu_Latn")


def test_a_tracker_that_is_not_installed_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"tracking: mlflow: not installed; run `pip install mlflow`"):
        train("sft", tuned_model("llama"), sft, EXAMPLES[:20], [], SETTINGS, 0, tmp_path, ["mlflow"])
