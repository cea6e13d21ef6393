"""Engine `vllm`: vLLM in this process, offline, with a LoRA adapter where one is given.

vLLM itself is not run in this project's tests: it needs a GPU, or an environment of its own on a CPU. What stands here
runs in them against a stand-in for its two classes. Behind its server, vLLM is the engine `openai`, which is tested.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from xllms.engines.protocol import EngineError, Sampling, Usage, Written
from xllms.prompting import PromptTemplate
from xllms.recipe import ModelSettings, VllmSettings


class VllmEngine:
    """Writes answers with vLLM.

    Args:
        settings: model, adapter and GPUs.

    Raises:
        EngineError: vLLM is not installed.
    """

    def __init__(self, settings: VllmSettings) -> None:
        try:
            import vllm
        except ModuleNotFoundError:
            raise EngineError("engine vllm: not installed; run `pip install vllm` (it brings its own torch)") from None
        from xllms.models.loading import load_tokenizer

        self.settings = settings
        self.name = f"vllm:{settings.name}"
        self.usage = Usage()
        self._vllm = vllm
        self._template = PromptTemplate(load_tokenizer(ModelSettings(name=settings.name)), settings.template)
        self._llm = vllm.LLM(
            model=settings.name,
            enable_lora=settings.adapter is not None,
            max_lora_rank=64 if settings.adapter else 16,
            tensor_parallel_size=settings.tensor_parallel,
            max_model_len=settings.max_length,
            enable_prefix_caching=True,
        )

    def write(
        self,
        prompts: Sequence[tuple[str, str]],
        max_new_tokens: int,
        sampling: Sampling = Sampling(),
        *,
        schema: Mapping[str, Any] | None = None,
    ) -> list[Written]:
        """See `protocol.Engine`."""
        ids = [list(self._template.prompt_ids(*prompt)) for prompt in prompts]
        # vLLM refuses a whole batch for one prompt without room for an answer.
        limit = int(self._llm.llm_engine.model_config.max_model_len)
        fitting = [number for number, row in enumerate(ids) if len(row) < limit]
        drawn = [self._parameters(max_new_tokens, sampling, number, schema) for number in fitting]
        adapter = self.settings.adapter
        lora = self._vllm.lora.request.LoRARequest("adapter", 1, str(adapter)) if adapter else None
        asked = [{"prompt_token_ids": ids[number]} for number in fitting]
        outputs = self._llm.generate(asked, drawn, lora_request=lora) if asked else []
        answers = [
            Written("", False, f"{self.name}: refused: a prompt of {len(row)} tokens in a context of {limit}")
            for row in ids
        ]
        for number, output in zip(fitting, outputs, strict=True):
            answers[number] = self._written(len(ids[number]), output.outputs[0], sampling)
        return answers

    def _parameters(self, limit: int, sampling: Sampling, number: int, schema: Mapping[str, Any] | None) -> Any:
        more: dict[str, Any] = {"stop": list(sampling.stop)} if sampling.stop else {}
        if schema is not None:
            structured = self._vllm.sampling_params.StructuredOutputsParams
            more["structured_outputs"] = structured(json=dict(schema))
        return self._vllm.SamplingParams(
            max_tokens=limit,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            seed=sampling.seed + number if sampling.temperature else None,  # equal prompts draw apart
            stop_token_ids=sorted(self._template.stop_ids),
            **more,
        )

    def _written(self, read: int, output: Any, sampling: Sampling) -> Written:
        self.usage.requests += 1
        self.usage.input_tokens += read
        self.usage.output_tokens += len(output.token_ids)
        whole, ended = str(output.text).strip(), output.finish_reason == "stop"
        if sampling.one_line:
            line = next(iter(whole.splitlines()), "")
            return Written(line.strip(), ended or len(line) < len(whole))
        return Written(whole, ended)
