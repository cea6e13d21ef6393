"""From settings to a model: what a machine cannot do is said in one line; what a stage tuned is found."""

from pathlib import Path

import pytest
import torch

from xllms.errors import InputError
from xllms.models import load
from xllms.models.loading import base_of
from xllms.recipe import ModelSettings


def test_four_bits_without_cuda_are_refused(tiny_model_folder: Path) -> None:
    settings = ModelSettings(name=str(tiny_model_folder), quantization="nf4", device="cpu")
    with pytest.raises(InputError, match="nf4: needs a CUDA device; use quantization: none here"):
        load(settings, "alpaca")


def test_all_weights_are_trained_in_float32(tiny_model_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    loaded = load(ModelSettings(name=str(tiny_model_folder), dtype="bfloat16"), "alpaca", trained="all")
    assert base_of(loaded).dtype == torch.float32
    assert all(parameter.requires_grad for parameter in loaded.model.parameters())
    assert "all weights are trained" in capsys.readouterr().err


def test_a_stage_that_tuned_nothing_is_named(tiny_model_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no adapter and no model here; run `xllms sft RECIPE` first"):
        load(ModelSettings(name=str(tiny_model_folder)), "alpaca", tmp_path / "sft")
