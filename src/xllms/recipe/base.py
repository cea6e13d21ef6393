"""What all settings share, and the model to start from."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Settings(BaseModel):
    """Base of all settings: immutable, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class ModelSettings(Settings):
    """Which model to start from and how to hold it."""

    name: str = Field("gemma3-270m", description="`gemma3-270m` (from PyPI), a hub id, or a local folder")
    dtype: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="auto: bfloat16 where the device multiplies it natively, else float32"
    )
    device: Literal["auto", "cpu", "cuda"] = "auto"
    batching: Literal["auto", "trie", "padded"] = Field(
        "auto",
        description="auto: token tries, or padded batches where the architecture cannot take a tree mask",
    )
    quantization: Literal["none", "nf4"] = Field(
        "none", description="nf4: the base model in 4 bits; with sft.tuning: lora that is QLoRA (CUDA only)"
    )
