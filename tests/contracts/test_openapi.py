"""What the service says of its own routes; whatever fits or breaks that gets a documented answer."""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from spikesight.service.api import create_app
from tests.support.models import tiny
from tests.support.serving.http import TOKEN, get, status_of, talk
from tests.support.serving.servers import running, settings
from tests.support.waiting import PATIENCE_S, until


def document(**changes: object) -> dict:
    return create_app(settings(**changes), (tiny(),)).openapi()


def operations(document: dict) -> Iterator[tuple[str, str, dict]]:
    """(path, method, operation) of every route."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


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
    kept = Path(__file__).with_name("api.json")
    if os.environ.get("SPIKESIGHT_KEEP"):
        kept.write_text(json.dumps(made, indent=1) + "\n")
    assert made == json.loads(kept.read_text()), "SPIKESIGHT_KEEP=1 writes it anew"


def test_the_token_is_described_where_it_is_asked_for() -> None:
    secret = document(token=TOKEN)
    assert secret["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
    with running(classifiers=(tiny(),), token=TOKEN) as port:
        for path, method, operation in operations(secret):
            asked = talk(port, get(re.sub(r"[{}]", "", path), method=method.upper()))
            assert (status_of(asked) == 401) == (operation.get("security", secret["security"]) == [{"token": []}]), path
    assert "security" not in document()


schemathesis = pytest.importorskip("schemathesis", reason="needs schemathesis: pip install 'spikesight[dev]'")
pytestmark = pytest.mark.filterwarnings("ignore")


schema = schemathesis.openapi.from_dict(create_app(settings(), (tiny(),)).openapi())


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with running(classifiers=(tiny(),), deadline_s=300) as port:  # 504 is no fault of a busy machine
        until(lambda: status_of(talk(port, get("/health/ready"))) == 200, "models and decoders are warm")
        yield port


@schema.parametrize()
@hypothesis_settings(max_examples=10, suppress_health_check=(HealthCheck.too_slow, HealthCheck.filter_too_much))
def test_every_route(case, port: int) -> None:
    from schemathesis.specs.openapi.checks import allow_header_conformance, positive_data_acceptance

    # No schema can say "the bytes of an image that decodes": most valid-looking uploads are rightly refused.
    # Starlette's Allow has the methods of the first route with that path.
    excluded = [positive_data_acceptance, allow_header_conformance]
    case.call_and_validate(f"http://127.0.0.1:{port}", excluded_checks=excluded, timeout=PATIENCE_S)
