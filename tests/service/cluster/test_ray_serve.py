"""The cluster without Ray: its directory, a replica's settings, and the ways out."""

import sys
from pathlib import Path

import pytest

from spikesight.app.cli import main
from spikesight.models.checkpoint import save
from spikesight.service.cluster.ray_serve import FRESH_S, Cluster, ClusterError, Directory, replica_values
from spikesight.service.settings import Settings
from tests.support.models import tiny


def test_the_directory_forgets_the_silent() -> None:
    now = [0.0]
    directory = Directory(lambda: now[0])
    directory.enter("a", "http://x")
    now[0] = FRESH_S / 2
    directory.enter("b", "http://y")
    assert directory.known() == {"a": "http://x", "b": "http://y"}
    now[0] = FRESH_S + 1
    assert directory.known() == {"b": "http://y"}
    directory.leave("b")
    assert directory.known() == {}


def test_a_replica_leaves_the_limits_of_clients_to_the_front(tmp_path: Path) -> None:
    made = tiny()
    save(tmp_path / "mine", made.network, made.card)
    settings = Settings(token="t" * 20, models=(str(tmp_path / "mine"),), requests_per_s=5, max_queue=7)  # type: ignore[arg-type]
    values = replica_values(settings, "a-key-of-all-replicas")
    assert "token" not in values
    again = Settings(**values)
    assert (again.requests_per_s, again.max_queue, again.models) == (0, 7, (str(tmp_path / "mine"),))
    assert again.snapshot_key is not None
    assert again.snapshot_key.get_secret_value() == "a-key-of-all-replicas"
    assert again.max_connections_per_client == again.max_connections


def test_ways_out(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ClusterError, match="--camera"):
        Cluster(Settings(cameras=("udp://127.0.0.1:1",)), 2)
    with pytest.raises(ClusterError, match="--replicas"):
        Cluster(Settings(), 0)
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_USAGE_STATS_ENABLED", "RAY_worker_niceness"):
        monkeypatch.setenv(name, "disabled")
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main(["serve", "--port", "0", "--cluster"]) == 2
    assert "spikesight[cluster]" in capsys.readouterr().err
