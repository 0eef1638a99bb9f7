"""The gate's parts by themselves: hosts, buckets, secrets; and settings."""

import pytest
from pydantic import ValidationError

from spikesight.service.http.gate import Hosts, RateLimit, TokenBucket, host_name, same_secret
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


def test_host_names_are_plain() -> None:
    assert host_name("ok-1.example_2:65535") == "ok-1.example_2"
    assert host_name("ä") is None


def test_bucket_refills() -> None:
    bucket = TokenBucket.full(2.0, 0.0)
    assert [bucket.take(0.0) for _ in range(3)] == [True, True, False]
    assert bucket.take(0.5)
    assert not bucket.take(0.5)
    assert [bucket.take(1000.0) for _ in range(3)] == [True, True, False], "a long silence saves up one second's worth"


def test_a_slow_bucket_still_holds_one() -> None:
    bucket = TokenBucket.full(0.1, 0.0)
    assert [bucket.take(now) for now in (0.0, 9.0, 10.1, 1000.0, 1001.0)] == [True, False, True, True, False]


def test_rates_are_kept_apart_and_forgotten() -> None:
    now = [0.0]
    rate = RateLimit(1.0, lambda: now[0])
    assert rate.allows("a")
    assert rate.allows("b")
    assert not rate.allows("a")
    for number in range(5000):
        rate.allows(f"client {number}")
    assert rate.allows("a")  # forgotten in the flood: memory is bounded
    assert all(RateLimit(0).allows("a") for _ in range(100))


def test_secrets() -> None:
    assert same_secret("abc", "abc")
    assert not same_secret("abd", "abc")
    assert not same_secret("\udc80", "abc")


def test_settings_are_checked_and_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPIKESIGHT_MAX_QUEUE", "5")
    monkeypatch.setenv("SPIKESIGHT_TOKEN", "0123456789abcdef")
    settings = Settings()
    assert settings.max_queue == 5
    assert "0123456789abcdef" not in repr(settings)
    for wrong in ({"port": 70_000}, {"max_batch": 0}, {"nothing": 1}, {"log_format": "xml"}):
        with pytest.raises(ValidationError):
            Settings(**wrong)  # type: ignore[arg-type]
