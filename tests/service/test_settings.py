"""The knobs: what they are without anybody's wish, how far they turn, and what contradicts itself."""

from typing import Any

import pytest
from pydantic import ValidationError

from service.cluster import failover, proxy, ray_serve, replicas
from service.http import connection, gate, metrics, server
from service.protocol_v2 import infer, tensors
from service.scheduler import answer, processes, scheduler
from service.settings import MIB, Settings, SettingsError
from service.sinks import delivery, disk_queue, mqtt, webhook
from service.stream import cameras, endpoint, messages, protocol, session, snapshot
from service.teach import bodies, lesson, routes
from service.upload import decode, encode, multipart

DEFAULTS: dict[str, Any] = {
    "host": "127.0.0.1",
    "port": 8000,
    "token": None,
    "snapshot_key": None,
    "insecure": False,
    "sinks_every_step": False,
    "max_body": 16 * 1024 * 1024,
    "max_message": 2 * 1024 * 1024,
    "max_pixels": 4096 * 4096,
    "max_recording_steps": 3000,
    "max_connections": 512,
    "max_connections_per_client": 128,
    "max_sessions": 64,
    "max_sessions_per_client": 48,
    "max_sequences": 64,
    "max_sequences_per_client": 48,
    "max_queue": 32,
    "max_batch": 8,
    "max_pending": 64,
    "max_unread": 8 * 1024 * 1024,
    "max_lessons": 16,
    "max_lessons_per_client": 4,
    "max_examples": 500,
    "requests_per_s": 0,
    "messages_per_s": 1000,
    "receive_s": 10,
    "hello_s": 5,
    "idle_s": 60,
    "lesson_idle_s": 1800,
    "deadline_s": 10,
    "grace_s": 0.5,
    "drain_s": 10,
    "threads": 1,
    "log_format": "text",
}


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in DEFAULTS:
        monkeypatch.delenv(f"SPIKESIGHT_{name.upper()}", raising=False)


def test_without_anybodys_wish() -> None:
    settings = Settings()
    assert {name: getattr(settings, name) for name in DEFAULTS} == DEFAULTS
    assert settings.models == settings.allowed_hosts == settings.allowed_origins == settings.cameras == ()
    assert settings.save_to is None
    settings.check()


@pytest.mark.parametrize("name", [name for name in DEFAULTS if name.startswith("max_") and name != "max_message"])
def test_a_limit_is_at_least_one(name: str) -> None:
    assert getattr(Settings(**{name: 1}), name) == 1  # type: ignore[arg-type]
    with pytest.raises(ValidationError):
        Settings(**{name: 0})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "least", "below"),
    [
        ("port", 0, -1),
        ("max_message", 64, 63),
        ("requests_per_s", 0, -0.1),
        ("grace_s", 0, -0.1),
        ("messages_per_s", 0.001, 0),
        ("receive_s", 0.001, 0),
        ("hello_s", 0.001, 0),
        ("idle_s", 0.001, 0),
        ("lesson_idle_s", 0.001, 0),
        ("deadline_s", 0.001, 0),
        ("drain_s", 0.001, 0),
        ("threads", 1, 0),
    ],
)
def test_how_far_they_turn(name: str, least: float, below: float) -> None:
    assert getattr(Settings(**{name: least}), name) == least  # type: ignore[arg-type]
    with pytest.raises(ValidationError):
        Settings(**{name: below})  # type: ignore[arg-type]


def test_ports_end_and_formats_are_two() -> None:
    assert Settings(port=65_535).port == 65_535
    for wrong in ({"port": 65_536}, {"log_format": "texts"}, {"unheard_of": 1}):
        with pytest.raises(ValidationError):
            Settings(**wrong)  # type: ignore[arg-type]
    with pytest.raises(ValidationError, match="frozen"):
        Settings().port = 1


@pytest.mark.parametrize("name", ["token", "snapshot_key"])
def test_secrets_have_sixteen_characters(name: str) -> None:
    Settings(**{name: "x" * 16}).check()  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="shorter than 16 characters"):
        Settings(**{name: "x" * 15}).check()  # type: ignore[arg-type]


def test_predictions_are_sent_of_cameras_alone() -> None:
    with pytest.raises(SettingsError, match="--camera"):
        Settings(sinks=("file:x",)).check()
    Settings(sinks=("file:x",), cameras=("prophesee",)).check()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "box"])
def test_the_network_is_let_in_by_a_token_or_a_word(host: str) -> None:
    with pytest.raises(SettingsError, match=f"listening on {host} lets other machines in"):
        Settings(host=host).check()
    Settings(host=host, insecure=True).check()
    Settings(host=host, token="x" * 16).check()  # type: ignore[arg-type]


def test_what_strangers_are_held_to_beyond_the_settings() -> None:
    """A limit that grows by mistake lets somebody hurt the service; one that shrinks turns good clients away."""
    assert (decode.MAX_EVENTS, decode.MAX_SCANS, decode.MAX_SCANNED, decode.MAX_MARKERS) == (2**23, 64, 2**28, 4096)
    assert (decode.CHEAP_BYTES, decode.CHEAP_PIXELS, decode.CHEAP_SCANS) == (2**16, 2**18, 4)
    assert (processes.CALLS, processes.MEMORY, processes.CPU_S, answer.LARGE) == (4, 2**30, 5, 2**20)
    assert (multipart.MAX_PART_HEADER, decode.INLINE_BYTES, infer.INLINE_BYTES) == (8192, 65_536, 16_384)
    assert (tensors.MAX_DIMS, tensors.MAX_INPUTS) == (8, 16)
    assert (connection.MAX_HEAD, connection.SMALL_BODY, connection.ABORT_S) == (16_384, 65_536, 2.0)
    assert (connection.HELLO_FRAMES, connection.FRAMES_A_MESSAGE, connection.MIN_FRAMES_PER_S) == (64, 4, 1000.0)
    assert (gate.MAX_PATH, gate.MAX_CLIENTS, server.LAST_REQUESTS_S, endpoint.CLOSE_S) == (4096, 4096, 0.5, 2.0)
    assert (encode.MAX_STEPS, encode.MAX_SHOWN, encode.SIDE, encode.BIN_US, encode.BINS) == (64, 300, 64, 10_000, 30)
    assert (messages.PICTURE_EVENTS, messages.REASON_BYTES, messages.MAX_TIME_US) == (4096, 123, 2**53)
    assert (session.MAX_FRAME_GAP_US, session.FRAME_SIDE, protocol.LATE_BINS) == (1_000_000, 640, 2)
    assert (snapshot.MAX_BYTES, snapshot.SIGNATURE_BYTES, cameras.BACKLOG, cameras.KEEP_ALIVE_S) == (2**26, 32, 64, 15)
    assert (lesson.LEAST_ACTIVE, lesson.MAX_CLASSES, lesson.MAX_WAITING, lesson.FEW, lesson.SHARE) == (
        60,
        32,
        16,
        3,
        20,
    )
    assert (routes.MAX_SAVED, bodies.LABEL, lesson.STEPS, lesson.BIN_US) == (32, 64, 10, 31_000)
    assert (delivery.MOST_UNKEPT, delivery.PIECE, delivery.LAST_S, disk_queue.MOST) == (10_000, 100, 5.0, 100_000)
    assert delivery.BACK_OFF_S == (0.5, 1, 2, 4, 8, 16, 32, 60)
    assert (webhook.TIMEOUT_S, webhook.MOST_ANSWER, webhook.REFUSALS) == (10, 65_536, (400, 413, 415, 422))
    assert (failover.EVERY, failover.KEPT_MESSAGES, failover.KEPT_BYTES, failover.MOVES) == (32, 1024, 2**23, 3)
    assert (failover.CLOSING_S, proxy.ATTEMPTS, proxy.POLL_S, replicas.SUSPECT_S) == (5.0, 3, 0.5, 1.0)
    assert (processes.OVER_S, answer.MOST_ARRAYS, mqtt.TIMEOUT_S) == (1.0, 64, 10.0)
    assert (scheduler.RUN_S, scheduler.HAND_OVER_S, scheduler.LENT_S) == (0.004, 0.00015, 0.001)
    assert metrics.SECONDS == (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
    assert metrics.BATCH == (1, 2, 4, 8, 16, 32, 64, 128)
    assert (ray_serve.FRESH_S, ray_serve.REPORT_S, ray_serve.START_S) == (30.0, 1.0, 120.0)


def test_a_mebibyte() -> None:
    assert MIB == 1_048_576
