"""The knobs: what they are without anybody's wish, how far they turn, and what contradicts itself."""

import pytest

from spikesight.service.settings import Settings, SettingsError, is_loopback

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


@pytest.mark.attack("host, token, origins", "settings beyond loopback without token or `insecure`", "refused")
@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "box"])
def test_the_network_is_let_in_by_a_token_or_a_word(host: str) -> None:
    with pytest.raises(SettingsError, match=f"listening on {host} lets other machines in"):
        Settings(host=host).check()
    Settings(host=host, insecure=True).check()
    Settings(host=host, token="x" * 16).check()  # type: ignore[arg-type]


@pytest.mark.parametrize(("proxy", "good"), [("10.0.0.1", True), ("2001:db8::/32", True), ("proxy.example", False)])
def test_a_trusted_proxy_is_an_address_or_a_network(proxy: str, good: bool) -> None:
    given = Settings(trusted_proxies=(proxy,))
    if good:
        given.check()
    else:
        with pytest.raises(SettingsError, match=r"not proxy\.example"):
            given.check()
