"""Google Cloud Translation v3, with which most of the paper's data was translated; billed by the character.

A request takes 1,024 texts and 30,000 characters at most; what is longer goes sentence by sentence. Credentials are
found as Google's library finds them, and are never in a recipe.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

from xllms.engines.protocol import EngineError, Usage
from xllms.engines.sentences import join_sentences, split_sentences
from xllms.languages import Language
from xllms.recipe.engines import GoogleSettings

TEXTS_A_REQUEST = 1024
CHARACTERS_A_REQUEST = 30_000
PATIENCE = 300.0  # seconds of growing pauses for a request that is refused for now


class GoogleTranslator:
    """Translates by Google's service.

    Args:
        settings: project, location and price.
        client: a `TranslationServiceClient` of one's own, for other credentials or another address.

    Attributes:
        name: `google`.
        usage: texts, characters sent, retries and money.
    """

    name = "google"

    def __init__(self, settings: GoogleSettings, client: Any = None) -> None:
        self.settings = settings
        self.usage = Usage()
        self._given = client

    def supports(self, source: Language, target: Language) -> bool:
        """Whether Google has both, and does not take them for one language (Akan and Twi)."""
        return bool(source.google and target.google) and source.google != target.google

    def translate(self, texts: Sequence[str], source: Language, target: Language) -> list[str]:
        """Each text in `target`, in order; line breaks are kept.

        A text with a sentence that is too long for a request becomes empty.

        Raises:
            EngineError: Google does not have the pair, its library or credentials are not there, or it refused.
        """
        if not self.supports(source, target):
            raise EngineError(f"google: does not translate from {source.name} to {target.name}; use another translator")
        parts = [_parts(text, source) for text in texts]
        contents = [sentence for pieces in parts for sentence, _ in pieces if sentence.strip()]
        translated = (said for batch in batches(contents) for said in self._request(batch, source, target))
        done = []
        for pieces in parts:
            said = [(next(translated) if sentence.strip() else sentence, after) for sentence, after in pieces]
            done.append(join_sentences(said, target))
            self.usage.requests += 1
        return done

    def _request(self, contents: list[str], source: Language, target: Language) -> list[str]:
        client = self._client  # first: it says where the library is absent
        from google.api_core.exceptions import GoogleAPIError
        from google.api_core.retry import Retry
        from google.auth.exceptions import GoogleAuthError

        request = {
            "parent": f"projects/{self.settings.project}/locations/{self.settings.location}",
            "contents": contents,
            "mime_type": "text/plain",
            "source_language_code": source.google,
            "target_language_code": target.google,
        }
        try:
            answer = client.translate_text(request=request, retry=Retry(on_error=self._again, timeout=PATIENCE))
        except (GoogleAPIError, GoogleAuthError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
            raise EngineError(f"google: {source.name} to {target.name}: {reason}") from None
        if len(answer.translations) != len(contents):
            raise EngineError(f"google: {len(contents)} texts went in and {len(answer.translations)} came out")
        characters = sum(map(len, contents))
        self.usage.characters += characters
        self.usage.money += characters * self.settings.price / 1e6
        return [str(translation.translated_text) for translation in answer.translations]

    def _again(self, error: Exception) -> None:
        self.usage.retries += 1

    @cached_property
    def _client(self) -> Any:
        if self._given is not None:
            return self._given
        try:
            from google.cloud.translate_v3 import TranslationServiceClient
        except ImportError:
            raise EngineError(
                "google: its library is not installed; run `pip install google-cloud-translate`"
            ) from None
        from google.auth.exceptions import GoogleAuthError

        try:
            return TranslationServiceClient()
        except GoogleAuthError as error:
            reason = str(error).splitlines()[0]
            raise EngineError(
                f"google: no credentials: {reason} (set GOOGLE_APPLICATION_CREDENTIALS to a key file)"
            ) from None


def batches(contents: Sequence[str]) -> Iterator[list[str]]:
    """Contents in order, cut into what one request takes."""
    batch: list[str] = []
    characters = 0
    for content in contents:
        if batch and (len(batch) == TEXTS_A_REQUEST or characters + len(content) > CHARACTERS_A_REQUEST):
            yield batch
            batch, characters = [], 0
        batch.append(content)
        characters += len(content)
    if batch:
        yield batch


def _parts(text: str, language: Language) -> list[tuple[str, str]]:
    """A text as one piece; as its sentences where it is too long for a request; nothing where one of these is, too."""
    if len(text) <= CHARACTERS_A_REQUEST:
        return [(text, "")]
    parts = split_sentences(text, language)
    return parts if max(len(sentence) for sentence, _ in parts) <= CHARACTERS_A_REQUEST else []
