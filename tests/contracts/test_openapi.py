"""schemathesis against our own OpenAPI: whatever fits or breaks the schema gets a documented answer."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from service.api import create_app
from tests.support.inputs.samples import picture
from tests.support.kept import compare
from tests.support.models import tiny
from tests.support.serving.http import TOKEN, body_of, get, post, status_of, talk
from tests.support.serving.servers import running, settings
from tests.support.waiting import PATIENCE_S, until

schemathesis = pytest.importorskip(
    "schemathesis", reason="schemathesis is not installed: pip install 'spikesight[dev]'"
)
pytestmark = pytest.mark.filterwarnings("ignore")


def document(**changes: object) -> dict:
    return create_app(settings(**changes), (tiny(),)).openapi()


schema = schemathesis.openapi.from_dict(document())
schema = schema.exclude(path_regex=r"/v1/cameras/.+")  # an endless answer


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with running(classifiers=(tiny(),), deadline_s=300) as port:  # 504 is no fault of a busy machine
        until(lambda: status_of(talk(port, get("/health/ready"))) == 200, "models and decoders are warm")
        yield port


@schema.parametrize()
@hypothesis_settings(max_examples=10, suppress_health_check=(HealthCheck.too_slow, HealthCheck.filter_too_much))
def test_every_route(case, port: int) -> None:
    from schemathesis.specs.openapi.checks import positive_data_acceptance

    # No schema can say "the bytes of an image that decodes": most valid-looking uploads are rightly refused.
    case.call_and_validate(f"http://127.0.0.1:{port}", excluded_checks=[positive_data_acceptance], timeout=PATIENCE_S)


def operations(document: dict) -> Iterator[tuple[str, str, dict]]:
    """(path, method, operation) of every route."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def test_every_status_has_a_body_and_every_parameter_a_text() -> None:
    for path, _, operation in operations(document()):
        assert operation["summary"], path
        assert "422" not in operation["responses"]
        for status, response in operation["responses"].items():
            assert response["description"], (path, status)
            assert "content" in response or status == "204", (path, status)
            for kind, content in response.get("content", {}).items():
                assert content["schema"], (path, status, kind)
        assert all(parameter.get("description") for parameter in operation.get("parameters", [])), path
        if "requestBody" in operation:
            assert all(content["schema"] for content in operation["requestBody"]["content"].values())


def seen(operation: dict) -> Iterator[str]:
    """What a client relies on: parameters with their bounds, kinds of bodies, statuses."""
    for parameter in operation.get("parameters", []):
        schema = {name: value for name, value in parameter["schema"].items() if name not in ("title", "description")}
        yield f"{parameter['in']} {parameter['name']} {json.dumps(schema, sort_keys=True)}"
    for kind in operation.get("requestBody", {}).get("content", {}):
        yield f"takes {kind}"
    for status, response in operation["responses"].items():
        yield " ".join([status, *response.get("content", {})])


def test_what_clients_rely_on_is_as_it_was() -> None:
    made = {f"{method} {path}": list(seen(operation)) for path, method, operation in operations(document(token=TOKEN))}
    compare(Path(__file__).with_name("api.json"), made)


def test_the_token_is_described_where_it_is_asked_for() -> None:
    secret = document(token=TOKEN)
    assert secret["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
    with running(classifiers=(tiny(),), token=TOKEN) as port:
        for path, method, operation in operations(secret):
            asked = talk(port, get(re.sub(r"[{}]", "", path), method=method.upper()))
            assert (status_of(asked) == 401) == (operation.get("security") == [{"token": []}]), path
            assert (status_of(asked) == 401) <= ("401" in operation["responses"])
    assert not any("security" in operation for _, _, operation in operations(document()))


@pytest.mark.attack("names and methods", "unknown queries", "400")
@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/v1/models?nothing=1", "unknown parameter: this path takes none"),
        ("/v1/encodings?a=b", "unknown parameter: this path takes none"),
        ("/samples/digit-3?a", "unknown parameter: this path takes none"),
        ("/v1/cameras/0/events?x=1", "unknown parameter: this path takes none"),
    ],
)
def test_unknown_parameters_are_refused(port: int, path: str, says: str) -> None:
    answer = talk(port, get(path))
    assert (status_of(answer), body_of(answer)) == (400, {"error": says})


def test_a_misspelt_parameter_of_a_prediction_is_refused(port: int) -> None:
    answer = talk(port, post("/v1/predict?step=1", picture(), "Content-Type: image/png"))
    assert status_of(answer) == 400
    assert body_of(answer)["error"].endswith(
        "this path takes bin_ms, confidence, error_rate, logits, model, name, raw, steps"
    )
