"""Any server that speaks OpenAI's protocol: vLLM, llama.cpp, Ollama, OpenAI and others.

Requests run in threads, for a thread that waits for a server costs nothing. Servers differ in what they take; what a
server took once is remembered: the name of the token limit, and how a JSON schema is passed (llama.cpp's server answers
500 to `json_schema`, transformers' ignores it). Answers are kept in a cache, request by request, where one is given.
"""

import json
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from typing import Any

from xllms.engines.cache import Answer, AnswerCache, request_key
from xllms.engines.protocol import Sampling, Usage, Written, before_stop
from xllms.engines.server import Refused, Server, Stopped, TryAgain, error_text
from xllms.prompting import alpaca_prompt, chat_message
from xllms.recipe import OpenAISettings

_NEXT_RECORD = "\n\n###"  # a base model goes on with an instruction of its own
_MORE_TRIES_OF_BLANKS = 2
_MOST_STOPS = 4  # OpenAI refuses more; answers are cut at the others here
_SCHEMA_FORMS = ("json_schema", "json_object", "prompt")
_NO_SUCH_FORM = frozenset({400, 422, 500})


@dataclass(frozen=True)
class _Job:
    """One request.

    Attributes:
        instruction: as it came, and `given` its input.
        prompt: the text that both become.
        occurrence: number of this prompt among the equal ones of a call.
    """

    instruction: str
    given: str
    prompt: str
    occurrence: int
    max_new_tokens: int
    sampling: Sampling
    schema: Mapping[str, Any] | None


class OpenAIEngine:
    """Writes answers by asking a server.

    Args:
        settings: address, model, key's variable, pace, prices.
        cache: where answers are kept and first looked for; none: they are asked for again in the next run.
        name: kept with what it wrote; none: kind and model.

    Raises:
        InputError: the address in `settings` is none.
    """

    def __init__(self, settings: OpenAISettings, cache: AnswerCache | None = None, name: str | None = None) -> None:
        self.settings = settings
        self.cache = cache
        self.name = name or f"openai:{settings.model}"
        self.usage = Usage()
        kept = "answers so far were not kept, for the engine has no cache"
        if cache is not None:
            kept = f"answers so far are in {cache.path}: run the same command again when the server is well"
        self._server = Server(settings, kept, self._count_retry)
        self._lock = threading.Lock()
        self._limit_name = "max_tokens"
        self._schema_form: str | None = None  # none: not known yet
        self._finding_form = threading.Lock()

    def write(
        self,
        prompts: Sequence[tuple[str, str]],
        max_new_tokens: int,
        sampling: Sampling = Sampling(),
        *,
        schema: Mapping[str, Any] | None = None,
    ) -> list[Written]:
        """One answer per (instruction, input), in order; see `protocol.Engine`.

        A request that the server refuses (too long, filtered), or answers with nothing, has `error` set and is not
        kept: it is asked for again in the next run.

        Raises:
            EngineError: the server is not there, refuses the key, knows no such model, or failed after all tries.
            InputError: httpx is not installed, or the cache is damaged.
        """
        jobs = self._jobs(prompts, max_new_tokens, sampling, schema)
        found = [self._cached(job) for job in jobs]
        missing = [at for at, written in enumerate(found) if written is None]
        for at, written in zip(missing, self._ask_all([jobs[at] for at in missing]), strict=True):
            found[at] = written
        return [written for written in found if written is not None]

    def _jobs(
        self,
        prompts: Sequence[tuple[str, str]],
        max_new_tokens: int,
        sampling: Sampling,
        schema: Mapping[str, Any] | None,
    ) -> list[_Job]:
        seen: Counter[str] = Counter()
        jobs = []
        for instruction, given in prompts:
            prompt = self._as_text(instruction, given)
            jobs.append(_Job(instruction, given, prompt, seen[prompt], max_new_tokens, sampling, schema))
            seen[prompt] += 1
        return jobs

    def _as_text(self, instruction: str, given: str) -> str:
        return (chat_message if self.settings.api == "chat" else alpaca_prompt)(instruction, given)

    def _key(self, job: _Job) -> str:
        # Not the address: the same model on another port answers the same. Caches from before there were stops hold.
        sampling = {name: value for name, value in asdict(job.sampling).items() if name != "stop" or value}
        request = {
            "engine": "openai",
            "model": self.settings.model,
            "api": self.settings.api,
            "prompt": job.prompt,
            "occurrence": job.occurrence,
            "max_new_tokens": job.max_new_tokens,
            "sampling": sampling,
            "schema": job.schema,
        }
        return request_key(request)

    def _cached(self, job: _Job) -> Written | None:
        answer = self.cache.get(self._key(job)) if self.cache is not None else None
        if answer is None:
            return None
        with self._lock:
            self.usage.requests += 1
            self.usage.cached += 1
        return answer.written

    def _ask_all(self, jobs: Sequence[_Job]) -> list[Written]:
        if not jobs:
            return []
        stop = threading.Event()
        pool = ThreadPoolExecutor(self.settings.concurrency)
        try:
            futures = [pool.submit(self._one, job, stop) for job in jobs]
            wait(futures, return_when=FIRST_EXCEPTION)
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)  # what is under way is paid for: it is waited for, and kept
        ends = [None if future.cancelled() else future.exception() for future in futures]
        for error in ends:
            if error is not None and not isinstance(error, Stopped):
                raise error
        return [future.result() for future in futures]

    def _one(self, job: _Job, stop: threading.Event) -> Written:
        try:
            return self._answer(job, stop)
        except BaseException:
            stop.set()  # before any other thread sends its next request
            raise

    def _answer(self, job: _Job, stop: threading.Event) -> Written:
        try:
            answer = self._asked(job, stop)
        except Refused as refused:
            answer = Answer(Written("", False, f"{self.name}: refused: {refused.message}"))
        if self.cache is not None and not answer.written.error:
            answer = self.cache.keep(self._key(job), answer)
        with self._lock:
            self.usage.requests += 1
        return answer.written

    def _asked(self, job: _Job, stop: threading.Event) -> Answer:
        """The answer, asked for again where it is blank."""
        completing = self.settings.api == "completions"
        stops = [*job.sampling.stop, *([_NEXT_RECORD] if completing else [])][:_MOST_STOPS]
        tries = [stops] * (1 + min(self.settings.retries, _MORE_TRIES_OF_BLANKS))
        if completing and job.sampling.one_line:
            # The first line ends the answer, unless it is a blank one in front.
            tries = [["\n", *stops][:_MOST_STOPS], *tries]
        for number, texts in enumerate(tries, 1):
            answer = self._in_a_form_it_takes(job, texts, stop)
            written = answer.written
            if written.text or written.error:
                return answer
            if not written.ended:
                why = f"no text within {job.max_new_tokens} tokens (a model that thinks first needs more)"
                return Answer(Written("", False, f"{self.name}: {why}"))
            if number < len(tries):
                self._count_retry()
        return Answer(Written("", True, f"{self.name}: answered nothing, {len(tries)} times"))

    def _in_a_form_it_takes(self, job: _Job, stops: list[str], stop: threading.Event) -> Answer:
        if job.schema is None:
            return self._post(job, stops, stop, None)
        with self._finding_form:  # one request finds out, the others wait for what it found
            form = self._schema_form
            if form is None:
                return self._find_form(job, stops, stop)
        return self._post(job, stops, stop, form)

    def _find_form(self, job: _Job, stops: list[str], stop: threading.Event) -> Answer:
        for form in _SCHEMA_FORMS[:-1]:
            try:
                answer = self._post(job, stops, stop, form, at_once=_NO_SUCH_FORM)
            except Refused as refused:
                if refused.status not in _NO_SUCH_FORM:
                    raise
                continue
            self._schema_form = form
            return answer
        answer = self._post(job, stops, stop, _SCHEMA_FORMS[-1])
        self._schema_form = _SCHEMA_FORMS[-1]
        return answer

    def _post(
        self,
        job: _Job,
        stops: list[str],
        stop: threading.Event,
        form: str | None,
        at_once: frozenset[int] = frozenset(),
    ) -> Answer:
        path = "/chat/completions" if self.settings.api == "chat" else "/completions"
        limit_name = self._limit_name
        body = self._body(job, stops, form) | {limit_name: job.max_new_tokens}

        def read(value: Any) -> Answer:
            return self._read(value, job)

        try:
            return self._server.ask(path, body, read, stop, at_once=at_once)
        except Refused as refused:
            # OpenAI's models that think take their limit under this name only, most other servers under the old one.
            if limit_name != "max_tokens" or "max_completion_tokens" not in refused.message:
                raise
        self._limit_name = "max_completion_tokens"
        body["max_completion_tokens"] = body.pop("max_tokens")
        return self._server.ask(path, body, read, stop, at_once=at_once)

    def _body(self, job: _Job, stops: list[str], form: str | None) -> dict[str, Any]:
        prompt = job.prompt
        if form == "prompt":
            wish = f"Answer with JSON alone, by this JSON schema: {json.dumps(job.schema, ensure_ascii=False)}"
            prompt = self._as_text(f"{job.instruction}\n\n{wish}", job.given)
        body: dict[str, Any] = {"model": self.settings.model, "temperature": job.sampling.temperature}
        if self.settings.api == "chat":
            body["messages"] = [{"role": "user", "content": prompt}]
        else:
            body["prompt"] = prompt
        if stops:
            body["stop"] = stops
        if job.sampling.temperature > 0:
            body |= {"top_p": job.sampling.top_p, "seed": job.sampling.seed + job.occurrence}
        if form == "json_schema":
            wanted = {"name": "answer", "schema": job.schema}
            body["response_format"] = {"type": "json_schema", "json_schema": wanted}
        elif form == "json_object":
            body["response_format"] = {"type": "json_object", "schema": job.schema}
        return body

    def _read(self, value: Any, job: _Job) -> Answer:
        """What an answer says; its tokens are paid for whatever it says."""
        read, wrote = (_count(value, name) for name in ("prompt_tokens", "completion_tokens"))
        with self._lock:
            self.usage.input_tokens += read
            self.usage.output_tokens += wrote
            self.usage.money += (read * self.settings.input_price + wrote * self.settings.output_price) / 1e6
        return Answer(self._written(value, job.sampling), read, wrote)

    def _written(self, value: Any, sampling: Sampling) -> Written:
        try:
            choice = value["choices"][0]
            said = choice["message"] if self.settings.api == "chat" else choice
            text = said["content" if self.settings.api == "chat" else "text"]
            reason, refusal = choice.get("finish_reason"), said.get("refusal")
        except (TypeError, KeyError, IndexError, AttributeError):
            raise TryAgain(" ".join(f"an answer without choices {error_text(value)}".split())[:200]) from None
        if reason == "content_filter" or refusal:
            why = f"the model declined: {refusal}" if refusal else "the server's content filter stopped the answer"
            return Written("", False, f"{self.name}: {' '.join(why.split())[:200]}")
        # A server that cuts a character in two may send half of a surrogate pair, which no file takes.
        raw = str(text or "").encode("utf-8", "replace").decode()
        cut = before_stop(raw, sampling.stop)  # some servers take no stops
        whole, ended = cut.strip(), reason != "length" or cut != raw
        if sampling.one_line:
            line = next(iter(whole.splitlines()), "")
            return Written(line.strip(), ended or len(line) < len(whole))
        return Written(whole, ended)

    def _count_retry(self) -> None:
        with self._lock:
            self.usage.retries += 1


def _count(value: Any, name: str) -> int:
    """Tokens as the server tells, 0 where it does not."""
    usage = value.get("usage") if isinstance(value, dict) else None
    count = usage.get(name) if isinstance(usage, dict) else None
    return count if isinstance(count, int) else 0
