"""Imported by the tests' fork server alone: what the service's imports, and what tests call."""

import spikesight.service.decoding.warm  # noqa: F401
import tests.support.serving.calls  # noqa: F401
