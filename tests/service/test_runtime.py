"""What a running service holds and is told: settings, places in queues, models, and all that is warm beforehand."""

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack

import pytest
from httpx import ASGITransport, AsyncClient

from spikesight.service.api import create_app
from spikesight.service.http.errors import Overloaded
from spikesight.service.runtime import Runtime
from spikesight.service.settings import Settings, SettingsError, is_loopback
from tests.support.inputs.samples import picture
from tests.support.models import tiny
from tests.support.refusals import refusal
from tests.support.serving.servers import settings
from tests.support.waiting import PATIENCE_S


@pytest.fixture
def runtime() -> Iterator[Runtime]:
    made = Runtime(settings(max_queue=4, deadline_s=20), (tiny(),))
    made._load()
    yield made
    made.registry.stop()
    made.decoder.shutdown()


def test_places_are_given_back_whatever_happens(runtime: Runtime) -> None:
    model = runtime.registry.get(None)

    def broken() -> None:
        with runtime.admitted(model, 4):
            with pytest.raises(Overloaded), runtime.admitted(model):
                pass
            raise KeyError

    with pytest.raises(KeyError):
        broken()
    assert model.depth() == 0


@pytest.mark.attack("load", "one address that fills a model's queue", "503 above three quarters; others are answered")
def test_one_address_leaves_places_in_the_queue(runtime: Runtime) -> None:
    model = runtime.registry.get(None)
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(runtime.admitted(model, client="192.0.2.1"))
        with pytest.raises(Overloaded), runtime.admitted(model, client="192.0.2.1"):
            pass
        with runtime.admitted(model, client="192.0.2.2"), pytest.raises(Overloaded), runtime.admitted(model):
            pass
    model.scheduler.check_room()


def replace_model(runtime: Runtime) -> None:
    """Serve the same model anew, and wait until nothing steps the old one any more."""
    old = runtime.registry.get(None).scheduler
    runtime.registry.add(tiny())
    if not old.depth:
        old._thread.join(PATIENCE_S)
        assert not old._thread.is_alive()


@pytest.mark.parametrize(
    "path", ["v1/predict", "v1/predict?logits=1", "v1/encode?encoding=dvs", "v2/models/tiny/infer"]
)
async def test_a_model_may_be_replaced_while_a_sample_is_sent_and_refuses_samples_once_full(path: str) -> None:
    app, data = create_app(settings(), (tiny(),)), picture()

    async def sent() -> AsyncIterator[bytes]:
        yield data[:20]
        replace_model(app.state.runtime)
        yield data[20:]

    async with app.router.lifespan_context(app):
        client = AsyncClient(transport=ASGITransport(app), base_url="http://testserver")
        answer = await client.post(f"/{path}", content=sent(), headers={"inference-header-content-length": "0"})
        assert answer.status_code == 200, answer.text
        with app.state.runtime.admitted(app.state.runtime.registry.get(None), 32):
            full = await client.post(path, content=data)
        assert (full.status_code, full.headers["retry-after"]) == (503, "1")


NAMES = list(Settings.model_fields)


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(f"SPIKESIGHT_{name.upper()}", raising=False)


def test_the_defaults_contradict_nothing_and_let_nobody_else_in() -> None:
    Settings().check()
    assert is_loopback(Settings().host)


def test_a_token_has_sixteen_characters() -> None:
    Settings(token="x" * 16).check()  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="shorter than 16 characters"):
        Settings(token="x" * 15).check()  # type: ignore[arg-type]


def test_what_is_unset_is_none_and_its_help_says_what_happens() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert ("without, " in field.description) >= (field.default is None), name


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "box"])
def test_the_network_is_let_in_by_a_token_or_a_word(host: str) -> None:
    refusal(lambda: Settings(host=host).check(), f"listening on {host} lets other machines in", SettingsError)
    Settings(host=host, insecure=True).check()
    Settings(host=host, token="x" * 16).check()  # type: ignore[arg-type]


@pytest.mark.parametrize(("proxy", "good"), [("10.0.0.1", True), ("2001:db8::/32", True), ("proxy.example", False)])
def test_a_trusted_proxy_is_an_address_or_a_network(proxy: str, good: bool) -> None:
    given = Settings(trusted_proxies=(proxy,))
    if good:
        given.check()
    else:
        refusal(lambda: given.check(), r"not proxy\.example", SettingsError)
