"""Settings of engines (who writes text) and of translators."""

from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from xllms.recipe.base import ModelSettings, Settings


class OpenAISettings(Settings):
    """A server that speaks OpenAI's protocol: vLLM, llama.cpp, Ollama, OpenAI and others."""

    type: Literal["openai"] = "openai"
    model: str = Field(min_length=1, description="the server's name of the model")
    base_url: str = Field("https://api.openai.com/v1", description="up to and with /v1")
    api: Literal["chat", "completions"] = Field("chat", description="completions: for base models, in an Alpaca prompt")
    key_env: str = Field("OPENAI_API_KEY", description="environment variable that holds the key; never the key itself")
    concurrency: int = Field(8, ge=1, description="requests under way at once")
    requests_per_minute: float | None = Field(None, gt=0)
    timeout: float = Field(120, gt=0, description="seconds for one request")
    retries: int = Field(5, ge=0, description="further tries of a request, with growing pauses")
    input_price: float = Field(0, ge=0, description="money for a million tokens read")
    output_price: float = Field(0, ge=0, description="money for a million tokens written")

    @field_validator("base_url")
    @classmethod
    def _no_key_in_it(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.username or parts.password or parts.query:
            raise ValueError("holds a name, a key or a query, and is kept with the run; put the key into key_env")
        return value


class LocalEngineSettings(ModelSettings):
    """A model of transformers in this process, perhaps with what a training stage made of it."""

    type: Literal["transformers"] = "transformers"
    tuned: Path | None = Field(None, description="folder of a finished sft or dpo stage")
    template: Literal["alpaca", "chat"] = "alpaca"
    batch_size: int = Field(128, ge=1, description="answers written side by side at most")
    memory: float | None = Field(
        None,
        gt=0,
        description="GiB for what answers side by side keep (keys, values, logits), beside the weights; "
        "none: 2 on a CPU or an eighth of its memory, half of what the weights leave of a GPU's",
    )


class VllmSettings(Settings):
    """vLLM in this process, offline."""

    type: Literal["vllm"] = "vllm"
    name: str = Field(min_length=1, description="hub id or local folder")
    adapter: Path | None = Field(None, description="LoRA adapter")
    template: Literal["alpaca", "chat"] = "alpaca"
    tensor_parallel: int = Field(1, ge=1, description="GPUs that share the model")
    max_length: int | None = Field(None, ge=8, description="tokens of prompt and answer")


EngineSettings = Annotated[OpenAISettings | LocalEngineSettings | VllmSettings, Field(discriminator="type")]


class ApertiumSettings(Settings):
    """Apertium's rule-based translation by its command."""

    type: Literal["apertium"] = "apertium"
    command: str = "apertium"


class SequenceModelSettings(Settings):
    """An encoder-decoder for translation: NLLB-200 or MADLAD-400."""

    type: Literal["nllb", "madlad"]
    name: str = Field(min_length=1, description="hub id or local folder")
    backend: Literal["ctranslate2", "transformers"] = Field(
        "ctranslate2", description="ctranslate2 converts the checkpoint once, to the cache"
    )
    compute_type: str = Field("default", description="ctranslate2: int8, float16, ...")
    device: Literal["auto", "cpu", "cuda"] = "auto"
    beam_size: int = Field(4, ge=1)
    batch_size: int = Field(32, ge=1, description="sentences side by side")
    max_new_tokens: int = Field(256, ge=1, description="for one sentence")


class GoogleSettings(Settings):
    """Google Cloud Translation v3; credentials as Google's library finds them."""

    type: Literal["google"] = "google"
    project: str = Field(min_length=1)
    location: str = "global"
    price: float = Field(20, ge=0, description="money for a million characters")


class ChatTranslatorSettings(Settings):
    """An engine that is asked to translate."""

    type: Literal["chat"] = "chat"
    engine: str = Field(min_length=1, description="one of `engines`")
    examples: int = Field(0, ge=0, description="pairs shown in front; a base model needs some")
    max_new_tokens: int = Field(512, ge=1)


TranslatorSettings = Annotated[
    ApertiumSettings | SequenceModelSettings | GoogleSettings | ChatTranslatorSettings, Field(discriminator="type")
]
