"""Weights are counted as transformers counts them; published totals; sizes read from a name are said to be."""

import json
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedModel

from tests.tiny import tiny_model
from xllms.errors import InputError
from xllms.planning.model_size import model_size, shape_of
from xllms.recipe import LoraSettings
from xllms.training.adapters import add_lora, lora_targets

PUBLISHED = {
    "gemma3-270m": 268_098_176,
    "HuggingFaceTB/SmolLM2-135M": 134_515_008,
    "meta-llama/Llama-2-7b-chat-hf": 6_738_415_616,
    "meta-llama/Llama-3.1-8B": 8_030_261_248,
    "meta-llama/Llama-3.2-1B": 1_235_814_400,
    "mistralai/Mistral-7B-v0.3": 7_248_023_552,
    "Qwen/Qwen2.5-0.5B": 494_032_768,
    "Qwen/Qwen3-0.6B": 596_049_920,
    "google/gemma-2-2b": 2_614_341_888,
    "bigscience/bloom-560m": 559_214_592,
    "bigscience/bloom-7b1": 7_069_016_064,
}


def saved(model: PreTrainedModel, folder: Path) -> str:
    folder.mkdir()
    model.config.save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize("architecture", ["llama", "qwen", "gemma2", "gemma3", "bloom"])
def test_every_weight_of_a_real_model_is_counted(architecture: str, tmp_path: Path) -> None:
    model = tiny_model(architecture)
    size = model_size(saved(model, tmp_path / "model"))
    head = model.get_output_embeddings().weight
    matrices = {id(p): p.numel() for p in model.parameters() if p.ndim == 2 and p is not head}
    matrices.pop(id(model.get_input_embeddings().weight), None)
    assert size.total == sum(p.numel() for p in model.parameters())
    assert size.head == head.numel()
    assert size.in_layers == sum(matrices.values())
    assert "config.json" in size.source


@pytest.mark.parametrize(
    ("architecture", "targets"),
    [
        ("llama", "all-linear"),
        ("llama", "attention"),
        ("llama", ("q_proj", "v_proj")),
        ("gemma3", "all-linear"),
        ("bloom", "all-linear"),
        ("bloom", "attention"),
        ("bloom", ("query_key_value",)),
    ],
)
def test_an_adapter_is_as_large_as_the_one_that_is_trained(
    architecture: str, targets: str | tuple[str, ...], tmp_path: Path
) -> None:
    model = tiny_model(architecture)
    size = model_size(saved(model, tmp_path / "model"))
    assert lora_targets(model, targets)
    adapted = add_lora(model, LoraSettings(r=4, alpha=8, targets=targets))
    assert size.adapter(4, targets) == sum(p.numel() for p in adapted.parameters() if p.requires_grad)


@pytest.mark.parametrize(("name", "weights"), PUBLISHED.items())
def test_known_models_have_their_published_size(name: str, weights: int) -> None:
    assert model_size(name).total == weights


def test_a_size_in_a_name_is_said_to_be_read_there() -> None:
    size = model_size("somebody/Thing-7B-v2")
    assert size.total == 7e9
    assert "name (7B)" in size.source
    assert model_size("somebody/thing-350m").total == 350e6
    assert model_size("somebody/thing-1.5b-chat").total == 1.5e9


def test_the_users_own_number_counts_and_a_guessed_adapter_is_near() -> None:
    size = model_size("somebody/thing", 6_738_415_616)
    assert size.total == 6_738_415_616
    real = model_size("meta-llama/Llama-2-7b-hf").adapter(8, "all-linear")
    assert size.adapter(8, "all-linear") == pytest.approx(real, rel=0.25)


@pytest.mark.parametrize("name", ["somebody/thing", "somebody/Llama-large", "facebook/nllb"])
def test_what_is_not_known_is_one_line_with_the_way_out(name: str) -> None:
    with pytest.raises(InputError, match="--parameters 7e9"):
        model_size(name)


def test_what_cannot_be_counted_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no model folder here"):
        model_size(str(tmp_path / "none"))
    with pytest.raises(InputError, match="must be above 0"):
        model_size("gemma3-270m", 0)
    with pytest.raises(InputError, match="must be above 0"):
        model_size("gemma3-270m", float("inf"))
    for number, text in enumerate(("{", '{"model_type": "llama"}', "[]")):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "config.json").write_text(text)
        with pytest.raises(InputError, match="not a configuration"):
            model_size(str(tmp_path / str(number)))
    strange = saved(tiny_model("gpt-oss"), tmp_path / "strange")
    with pytest.raises(InputError, match=r"architecture gpt_oss .* --parameters"):
        model_size(strange)
    with pytest.raises(InputError, match="q_projj matches no layer of gemma3-270m; it has q_proj"):
        model_size("gemma3-270m").adapter(4, ("q_projj",))


def test_a_configuration_with_a_text_part_is_read(tmp_path: Path) -> None:
    model = tiny_model("llama")
    folder = saved(model, tmp_path / "model")
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    (tmp_path / "model" / "config.json").write_text(json.dumps({"model_type": "both", "text_config": config}))
    assert model_size(folder).shape == shape_of(config)
    assert torch.tensor(model_size(folder).total) == sum(p.numel() for p in model.parameters())
