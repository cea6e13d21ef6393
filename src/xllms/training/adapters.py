"""What is tuned: LoRA adapters, whose places are read from the architecture, or all weights; and how it is kept."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn
from transformers import PreTrainedModel

from xllms.errors import InputError
from xllms.manifest import disk_error
from xllms.packing.lora_linear import fuse_lora
from xllms.prompting import PromptTemplate
from xllms.recipe import LoraSettings

_LINEAR = ("Linear", "Conv1D")


def lora_targets(model: PreTrainedModel, wanted: str | Sequence[str]) -> list[str]:
    """Names of the modules that get an adapter.

    Args:
        model: base model.
        wanted: `all-linear` (every linear layer but the output head), `attention` (those inside attention modules), or
            ends of module names such as `q_proj`.

    Returns:
        Full module names.

    Raises:
        InputError: nothing matches; prints the names that could.
    """
    head = model.get_output_embeddings()
    linear = {
        name: module
        for name, module in model.named_modules()
        if type(module).__name__.startswith(_LINEAR) and module is not head
    }
    if wanted == "all-linear":
        found = list(linear)
    elif wanted == "attention":
        found = [name for name in linear if "att" in name.rpartition(".")[0].rpartition(".")[2].lower()]
    else:
        ends = [wanted] if isinstance(wanted, str) else list(wanted)
        found = [name for name in linear if any(name == end or name.endswith(f".{end}") for end in ends)]
        unmatched = [end for end in ends if not any(name == end or name.endswith(f".{end}") for name in linear)]
        if unmatched:
            raise InputError(_no_match(unmatched, linear, model))
    if not found:
        raise InputError(_no_match([str(wanted)], linear, model))
    return found


def add_lora(model: PreTrainedModel, settings: LoraSettings) -> nn.Module:
    """A fresh adapter on `model`; only it is trained.

    Raises:
        InputError: the targets match nothing.
    """
    config = LoraConfig(
        r=settings.r,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=_short(model, lora_targets(model, settings.targets)),
        task_type="CAUSAL_LM",
    )
    return fuse_lora(get_peft_model(model, config))


def save_tuned(model: Any, template: PromptTemplate, stage: Path, weights: dict[str, Any] | None = None) -> list[Path]:
    """Write what was tuned, with tokenizer and template fingerprint, whole or not at all.

    Args:
        model: with an adapter, which goes to `stage/adapter`; or without, whose weights all go to `stage/model`.
        template: that it was tuned with.
        stage: folder of the stage.
        weights: in place of the model's own, where these are shards.

    Returns:
        The files that decide what the model says.

    Raises:
        XllmsError: the disk is full.
    """
    folder = stage / ("adapter" if isinstance(model, PeftModel) else "model")
    work = folder.with_name(f".part-{folder.name}")
    more = {"save_embedding_layers": False} if isinstance(model, PeftModel) else {}
    shutil.rmtree(work, ignore_errors=True)
    try:
        model.save_pretrained(work, state_dict=weights, **more)
        template.tokenizer.save_pretrained(work)
        template.save(work)
        (work / "README.md").unlink(missing_ok=True)  # peft's empty model card
        _in_order(work / "adapter_config.json")
        shutil.rmtree(folder, ignore_errors=True)
        work.rename(folder)
    except OSError as error:
        raise disk_error(error, folder) from None
    return [*sorted(folder.glob("*.safetensors")), folder / "template.json"]


def _in_order(path: Path) -> None:
    """peft keeps the targets as a set, whose order is another in each process."""
    if path.exists():
        config = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(config["target_modules"], list):
            config["target_modules"].sort()
        path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _short(model: PreTrainedModel, names: list[str]) -> list[str]:
    """Last parts of the names where these mean the same modules, so that the saved configuration stays readable."""
    ends = sorted({name.rpartition(".")[2] for name in names})
    meant = {name for name, _ in model.named_modules() if name.rpartition(".")[2] in ends}
    return ends if meant == set(names) else names


def _no_match(wanted: Sequence[str], linear: dict[str, nn.Module], model: PreTrainedModel) -> str:
    ends = sorted({name.rpartition(".")[2] for name in linear})
    return (
        f"lora.targets: {', '.join(wanted)} matches no linear layer of {type(model).__name__}; "
        f"it has: {', '.join(ends) or 'none'}"
    )
