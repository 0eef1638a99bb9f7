"""schemathesis against our own OpenAPI: whatever fits or breaks the schema gets a documented answer."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from spikesight.service.api import create_app
from tests.support.inputs.samples import picture
from tests.support.models import tiny
from tests.support.serving.http import body_of, get, post, status_of, talk
from tests.support.serving.servers import running, settings
from tests.support.waiting import PATIENCE_S, until

schemathesis = pytest.importorskip(
    "schemathesis", reason="schemathesis is not installed: pip install 'spikesight[dev]'"
)
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


@pytest.mark.attack("names and methods", "unknown queries", "400")
@pytest.mark.parametrize("path", ["/v1/models", "/v1/encodings", "/samples/digit-3"])
def test_unknown_parameters_are_refused(port: int, path: str) -> None:
    answer = talk(port, get(f"{path}?a=b"))
    assert (status_of(answer), body_of(answer)) == (400, {"error": "unknown parameter: this path takes none"})


def test_a_misspelt_parameter_of_a_prediction_is_refused(port: int) -> None:
    answer = talk(port, post("/v1/predict?step=1", picture(), "Content-Type: image/png"))
    assert status_of(answer) == 400
    taken = "bin_ms, confidence, error_rate, logits, model, name, objects, raw, steps"
    assert body_of(answer)["error"].endswith(f"this path takes {taken}")
