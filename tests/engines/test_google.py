"""Google's real client library, talking HTTP to a server of the tests' own that keeps Google's limits."""

import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xllms.engines.google import CHARACTERS_A_REQUEST, TEXTS_A_REQUEST, GoogleTranslator, batches
from xllms.engines.protocol import EngineError
from xllms.languages import all_languages, get
from xllms.recipe.engines import GoogleSettings

ENGLISH, HEBREW, CHINESE = get("English"), get("Hebrew"), get("Chinese (Simplified)")


class Service(BaseHTTPRequestHandler):
    """Answers each content in capitals with its target; refuses what Google refuses."""

    asked: list[tuple[str, dict[str, Any]]]
    failures: list[int]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append((self.path, body))
        contents = body["contents"]
        if self.failures:
            self.reply(self.failures.pop(0), {"error": {"message": "not now", "status": "UNAVAILABLE"}})
        elif len(contents) > 1024 or sum(map(len, contents)) > 30_000 or not all(contents):
            self.reply(400, {"error": {"message": "Text is too long.", "status": "INVALID_ARGUMENT"}})
        else:
            said = [{"translatedText": f"{text.upper()}@{body['targetLanguageCode']}"} for text in contents]
            self.reply(200, {"translations": said})

    def reply(self, status: int, value: Any) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def service() -> Iterator[ThreadingHTTPServer]:
    Service.asked, Service.failures = [], []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def google(service: ThreadingHTTPServer) -> GoogleTranslator:
    translate = pytest.importorskip("google.cloud.translate_v3", reason="google-cloud-translate is not installed")
    from google.auth.credentials import AnonymousCredentials
    from google.cloud.translate_v3.services.translation_service.transports import TranslationServiceRestTransport

    host = f"127.0.0.1:{service.server_port}"
    transport = TranslationServiceRestTransport(host=host, credentials=AnonymousCredentials(), url_scheme="http")
    client = translate.TranslationServiceClient(transport=transport)
    return GoogleTranslator(GoogleSettings(project="ours", price=20), client)


def test_texts_go_out_in_google_s_codes_and_come_back_in_order(google: GoogleTranslator) -> None:
    texts = ["one\ntwo", "", "three", " \n", "four"]
    assert google.translate(texts, ENGLISH, HEBREW) == ["ONE\nTWO@iw", "", "THREE@iw", " \n", "FOUR@iw"]
    path, body = Service.asked[0]
    assert path.startswith("/v3/projects/ours/locations/global:translateText")
    assert len(Service.asked) == 1
    assert body["contents"] == ["one\ntwo", "three", "four"]
    assert (body["sourceLanguageCode"], body["targetLanguageCode"], body["mimeType"]) == ("en", "iw", "text/plain")
    assert google.usage.requests == 5 and google.usage.characters == len("one\ntwothreefour")
    assert google.usage.money == pytest.approx(google.usage.characters * 20 / 1e6)


def test_a_large_unit_goes_in_several_requests(google: GoogleTranslator) -> None:
    texts = [f"text {number}" for number in range(2500)] + ["long " * 3000] * 4
    assert google.translate(texts, ENGLISH, CHINESE) == [f"{text.upper()}@zh-CN" for text in texts]
    assert len(Service.asked) >= 5


def test_what_is_too_long_for_a_request_goes_by_sentences(google: GoogleTranslator) -> None:
    text = "\n".join(["A sentence. And another one."] * 1500)
    said = google.translate(["short", text, "endless " * 5000, "end"], ENGLISH, HEBREW)
    assert said == ["SHORT@iw", "\n".join(["A SENTENCE.@iw AND ANOTHER ONE.@iw"] * 1500), "", "END@iw"]


def test_a_busy_service_is_asked_again(google: GoogleTranslator) -> None:
    Service.failures = [503]
    assert google.translate(["one"], ENGLISH, HEBREW) == ["ONE@iw"]
    assert google.usage.retries == 1 and google.usage.characters == 3


def test_a_refusal_is_one_line(google: GoogleTranslator) -> None:
    Service.failures = [403]
    with pytest.raises(EngineError, match=r"^google: English to Hebrew: 403 .*not now") as caught:
        google.translate(["one"], ENGLISH, HEBREW)
    assert "\n" not in str(caught.value)


def test_it_has_what_google_has() -> None:
    google = GoogleTranslator(GoogleSettings(project="ours"))
    supported = [language for language in all_languages() if google.supports(ENGLISH, language)]
    assert len(supported) > 100 and ENGLISH not in supported and HEBREW in supported
    assert not google.supports(get("Akan"), get("Twi"))  # one language to Google
    with pytest.raises(EngineError, match="does not translate from English to Kamba"):
        google.translate(["one"], ENGLISH, get("Kamba"))


def test_without_the_library_the_way_to_install_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("google.cloud.translate_v3", "google.api_core", "google.api_core.exceptions", "google.auth"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(EngineError, match="run `pip install google-cloud-translate`"):
        GoogleTranslator(GoogleSettings(project="ours")).translate(["one"], ENGLISH, HEBREW)


def test_without_credentials_the_way_to_give_them_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("google.cloud.translate_v3", reason="google-cloud-translate is not installed")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "no-such-file.json")
    with pytest.raises(EngineError, match=r"google: no credentials: .*no-such-file\.json"):
        GoogleTranslator(GoogleSettings(project="ours")).translate(["one"], ENGLISH, HEBREW)


@given(st.lists(st.integers(0, CHARACTERS_A_REQUEST) | st.integers(1, 40), max_size=40), st.integers(1, 60))
def test_batches_hold_everything_in_order_within_the_limits(lengths: list[int], times: int) -> None:
    contents = ["x" * length for length in lengths] * times
    found = list(batches(contents))
    assert [content for batch in found for content in batch] == contents
    assert all(batch and len(batch) <= TEXTS_A_REQUEST for batch in found)
    assert all(sum(map(len, batch)) <= CHARACTERS_A_REQUEST for batch in found)
