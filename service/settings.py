"""All settings of the service: flags of `spikesight serve`, `SPIKESIGHT_*` variables, or Python arguments."""

import ipaddress
from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

MIB = 2**20


class SettingsError(ValueError):
    """Settings that contradict each other or break a safety rule."""


class Settings(BaseSettings):
    """Settings of the service. Environment variables carry the prefix SPIKESIGHT_; command-line flags override them."""

    model_config = SettingsConfigDict(env_prefix="SPIKESIGHT_", frozen=True, extra="forbid", protected_namespaces=())

    host: str = Field(default="127.0.0.1", description="address to listen on")
    port: int = Field(default=8000, ge=0, le=65535, description="port to listen on; 0 takes a free one")
    models: tuple[str, ...] = Field(default=(), description="shipped names or folders; the first is the default")
    token: SecretStr | None = Field(default=None, description="bearer token that every request must carry")
    snapshot_key: SecretStr | None = Field(
        default=None, description="key that snapshots of streams are signed with; drawn at every start without"
    )
    insecure: bool = Field(default=False, description="allow listening beyond this machine without a token")
    allowed_hosts: tuple[str, ...] = Field(default=(), description="further host names this service answers to")
    allowed_origins: tuple[str, ...] = Field(default=(), description="pages of other origins that may use the service")
    trusted_proxies: tuple[str, ...] = Field(
        default=(), description="addresses or networks of proxies whose X-Forwarded-For says who asks"
    )
    cameras: tuple[str, ...] = Field(default=(), description="event sources the service opens itself")
    camera_bin_ms: float | None = Field(
        default=None, gt=0, le=1000, description="a step's length of the cameras' streams; the model's own without"
    )
    sinks: tuple[str, ...] = Field(default=(), description="where the cameras' predictions are sent")
    sinks_every_step: bool = Field(default=False, description="send every step, not only changes of the steady label")

    max_body: int = Field(default=16 * MIB, ge=1, description="bytes of one request")
    max_message: int = Field(default=2 * MIB, ge=64, description="bytes of one WebSocket message")
    max_pixels: int = Field(default=2**24, ge=1, description="pixels of one image, checked before it is decoded")
    max_recording_steps: int = Field(default=3000, ge=1, description="steps of one uploaded recording")
    max_connections: int = Field(default=512, ge=1, description="open connections in all")
    max_connections_per_client: int = Field(default=128, ge=1, description="open connections of one address")
    max_sessions: int = Field(default=64, ge=1, description="live streams")
    max_sessions_per_client: int = Field(default=48, ge=1, description="live streams of one address")
    max_greetings: int = Field(default=64, ge=1, description="streams that have not said hello yet")
    max_sequences: int = Field(default=64, ge=1, description="Open Inference Protocol sequences that keep their state")
    max_sequences_per_client: int = Field(default=48, ge=1, description="sequences of one address")
    max_queue: int = Field(default=32, ge=1, description="requests waiting or running; more are refused with 503")
    max_batch: int = Field(default=8, ge=1, description="streams and images stepped together")
    max_pending: int = Field(default=64, ge=1, description="steps one stream may have waiting")
    max_unread: int = Field(default=8 * MIB, ge=1, description="bytes of answers that one stream may leave unread")
    max_lessons: int = Field(default=16, ge=1, description="teaching sessions, each of which learns classes live")
    max_lessons_per_client: int = Field(default=4, ge=1, description="teaching sessions of one address")
    max_examples: int = Field(default=500, ge=1, description="examples of one teaching session, about 30 kB each")
    save_to: Path | None = Field(default=None, description="folder that taught models are saved to and served from")
    requests_per_s: float = Field(default=0, ge=0, description="requests a second of one client; 0 sets no limit")
    messages_per_s: float = Field(default=1000, gt=0, description="WebSocket messages a second of one stream")

    receive_s: float = Field(default=10, gt=0, description="seconds a client may take to send one request")
    read_s: float = Field(default=10, gt=0, description="seconds in which a client must read on in its answer")
    hello_s: float = Field(default=5, gt=0, description="seconds a stream may take to say hello")
    idle_s: float = Field(default=60, gt=0, description="seconds of silence after which a stream or sequence is closed")
    lesson_idle_s: float = Field(
        default=1800, gt=0, description="seconds until an unused teaching session is forgotten"
    )
    deadline_s: float = Field(default=10, gt=0, description="seconds an answer may take; over it 504")
    grace_s: float = Field(default=0.5, ge=0, description="seconds between 'not ready' and closing the port")
    drain_s: float = Field(default=10, gt=0, description="seconds running requests get at shutdown")
    threads: int | None = Field(
        default=None, ge=1, le=1024, description="threads that share a model's step; as many as the machine grants"
    )
    log_format: str = Field(default="text", pattern="^(text|json)$", description="text or json")

    def check(self) -> None:
        """Raise SettingsError if settings contradict each other, or open the service to the network without a token."""
        if self.sinks and not self.cameras:
            raise SettingsError("--to sends what the service's own cameras show: name one with --camera")
        if self.camera_bin_ms is not None and not self.cameras:
            raise SettingsError("--bin-ms is the step of the service's own cameras: name one with --camera")
        if not is_loopback(self.host) and self.token is None and not self.insecure:
            raise SettingsError(
                f"listening on {self.host} lets other machines in: set SPIKESIGHT_TOKEN, or say --insecure"
            )
        for proxy in self.trusted_proxies:
            try:
                ipaddress.ip_network(proxy, strict=False)
            except ValueError:
                sentence = f"a trusted proxy is an address or a network as 10.0.0.0/8, not {proxy}"
                raise SettingsError(sentence) from None
        if self.token is not None and len(self.token.get_secret_value()) < 16:
            raise SettingsError("the token is shorter than 16 characters: take a longer one")
        if self.snapshot_key is not None and len(self.snapshot_key.get_secret_value()) < 16:
            raise SettingsError("SPIKESIGHT_SNAPSHOT_KEY is shorter than 16 characters: take a longer one")


def is_loopback(host: str) -> bool:
    """Return whether `host` is reachable from this machine only.

    >>> [is_loopback(host) for host in ("127.0.0.1", "localhost", "::1", "0.0.0.0", "example.org")]
    [True, True, True, False, False]
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
