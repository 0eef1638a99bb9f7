"""The gate's parts by themselves: hosts, buckets, secrets; and settings."""

import pytest

from spikesight.service.http.gate import Hosts, TokenBucket, same_secret
from spikesight.service.settings import Settings


@pytest.mark.parametrize(
    ("host", "good"),
    [
        ("localhost", True),
        ("LOCALHOST:8000", True),
        ("127.0.0.1:80", True),
        ("[::1]:80", True),
        ("192.168.0.7:9000", True),
        ("box.local", True),
        ("evil.example", False),
        ("box.local.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("", False),
        ("a/b", False),
        ("x@localhost", False),
        ("localhost:80:80", False),
        ("[::1", False),
        ("[::1]evil", False),
    ],
)
def test_hosts(host: str, good: bool) -> None:
    assert Hosts(Settings(allowed_hosts=("Box.local",))).allow(host) == good


def test_bucket_refills() -> None:
    bucket = TokenBucket.full(2.0, 0.0)
    assert [bucket.take(0.0) for _ in range(3)] == [True, True, False]
    assert bucket.take(0.5)
    assert not bucket.take(0.5)
    assert [bucket.take(1000.0) for _ in range(3)] == [True, True, False], "a long silence saves up one second's worth"


def test_a_slow_bucket_still_holds_one() -> None:
    bucket = TokenBucket.full(0.1, 0.0)
    assert [bucket.take(now) for now in (0.0, 9.0, 10.1, 1000.0, 1001.0)] == [True, False, True, True, False]


def test_secrets() -> None:
    assert same_secret("abc", "abc")
    assert not same_secret("abd", "abc")
    assert not same_secret("\udc80", "abc")


def test_settings_come_from_the_environment_and_keep_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPIKESIGHT_MAX_QUEUE", "5")
    monkeypatch.setenv("SPIKESIGHT_TOKEN", "0123456789abcdef")
    settings = Settings()
    assert settings.max_queue == 5
    assert "0123456789abcdef" not in repr(settings)
