"""schemathesis against our own OpenAPI: whatever fits or breaks the schema gets a documented answer."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from service.api import create_app
from tests.support.models import tiny
from tests.support.servers import running, settings

schemathesis = pytest.importorskip(
    "schemathesis", reason="schemathesis is not installed: pip install 'spikesight[dev]'"
)
pytestmark = pytest.mark.filterwarnings("ignore")


schema = schemathesis.openapi.from_dict(create_app(settings(), (tiny(),)).openapi())
schema = schema.exclude(path_regex=r"/v1/cameras/.+")  # an endless answer


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with running(classifiers=(tiny(),), deadline_s=300) as port:  # 504 is no fault of a busy machine
        yield port


@schema.parametrize()
@hypothesis_settings(
    max_examples=10, deadline=None, suppress_health_check=(HealthCheck.too_slow, HealthCheck.filter_too_much)
)
def test_every_route(case, port: int) -> None:
    from schemathesis.specs.openapi.checks import positive_data_acceptance

    # No schema can say "the bytes of an image that decodes": most valid-looking uploads are rightly refused.
    case.call_and_validate(base_url=f"http://127.0.0.1:{port}", excluded_checks=[positive_data_acceptance])
