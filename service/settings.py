"""All settings of the service: flags of `spikesight serve`, `SPIKESIGHT_*` variables, or Python arguments."""

import ipaddress
from pathlib import Path
from typing import ClassVar

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

MIB = 2**20


class SettingsError(ValueError):
    """Settings that contradict each other or break a safety rule."""


class Settings(BaseSettings):
    """Settings of the service. Environment variables carry the prefix SPIKESIGHT_; command-line flags override them.

    Only what an operator turns is a setting. Other limits are constants of this class, each with its reason.
    """

    model_config = SettingsConfigDict(env_prefix="SPIKESIGHT_", frozen=True, extra="forbid", protected_namespaces=())

    host: str = Field(default="127.0.0.1", description="address to listen on")
    port: int = Field(default=8000, ge=0, le=65535, description="port to listen on; 0 takes a free one")
    models: tuple[str, ...] = Field(
        default=(), description="shipped names or folders, the first is the default; without, all shipped models"
    )
    token: SecretStr | None = Field(
        default=None,
        description="bearer token that every request must carry; without, whoever reaches the port may ask",
    )
    insecure: bool = Field(default=False, description="allow listening beyond this machine without a token")
    allowed_hosts: tuple[str, ...] = Field(default=(), description="further host names this service answers to")
    allowed_origins: tuple[str, ...] = Field(default=(), description="pages of other origins that may use the service")
    trusted_proxies: tuple[str, ...] = Field(
        default=(), description="addresses or networks of proxies whose X-Forwarded-For says who asks"
    )
    cameras: tuple[str, ...] = Field(default=(), description="event sources the service opens itself")
    camera_bin_ms: float | None = Field(
        default=None, gt=0, le=1000, description="a step's length of the cameras' streams; without, the model's own"
    )
    sinks: tuple[str, ...] = Field(default=(), description="where the cameras' predictions are sent")
    sinks_every_step: bool = Field(default=False, description="send every step, not only changes of the label")
    save_to: Path | None = Field(
        default=None, description="folder that taught models are saved to and served from; without, none can be saved"
    )

    max_body: int = Field(default=16 * MIB, ge=1, description="bytes of one request")
    max_connections: int = Field(default=512, ge=1, description="open connections, of one address a quarter")
    max_sessions: int = Field(default=64, ge=1, description="live streams, of one address three quarters")
    max_queue: int = Field(
        default=32, ge=1, description="requests waiting or running, of one address three quarters; over it 503"
    )
    max_batch: int = Field(default=8, ge=1, description="streams and images stepped together")
    requests_per_s: float | None = Field(
        default=None, gt=0, description="requests a second of one address; without, any number"
    )
    messages_per_s: float = Field(default=1000, gt=0, description="WebSocket messages a second of one stream")
    receive_s: float = Field(
        default=10, gt=0, description="seconds a client may take to send one request, and to read on in its answer"
    )
    deadline_s: float = Field(default=10, gt=0, description="seconds an answer may take; over it 504")
    threads: int | None = Field(
        default=None,
        ge=1,
        le=1024,
        description="threads that share a model's step; without, as many as the machine grants",
    )
    log_format: str = Field(default="text", pattern="^(text|json)$", description="text or json")

    max_message: ClassVar[int] = 4 * MIB  # bytes of one WebSocket message: a dense frame of 640 x 480 pixels fits
    max_pixels: ClassVar[int] = 2**24  # of one image, read from its head: 50 MB decoded, four times an HD picture
    max_recording_steps: ClassVar[int] = (
        3000  # of an upload: 30 s at the usual bin, a minute of work on a small machine
    )
    max_pending: ClassVar[int] = 64  # steps that wait of one stream: 2 s at 30 ms, older ones interest nobody
    max_unread: ClassVar[int] = 8 * MIB  # bytes of answers left unread by one stream: some seconds with pictures
    max_teaching_sessions: ClassVar[int] = 16  # teaching sessions, at most 240 MB with all their examples
    max_teaching_per_client: ClassVar[int] = 4
    max_examples: ClassVar[int] = 500  # of one teaching session, about 30 kB each
    hello_s: ClassVar[float] = 5  # until a stream has said hello: several round trips of the slowest network
    idle_s: ClassVar[float] = 60  # of silence until a stream is closed, longer than any proxy's pings
    teaching_idle_s: ClassVar[float] = 1800  # until an unused teaching session is forgotten: a person's break
    grace_s: ClassVar[float] = 0.5  # between "not ready" and closing the port: balancers that ask twice a second see it
    drain_s: ClassVar[float] = 10  # for running requests at shutdown: no request takes longer than the deadline

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
