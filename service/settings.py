"""All settings of the service: flags of `spikesight serve`, `SPIKESIGHT_*` variables, or Python arguments.

A setting is written here once: its name, type, default and description. The command's flags follow
from the fields.
"""

import ipaddress
from argparse import SUPPRESS, ArgumentParser
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

MIB = 2**20


class SettingsError(ValueError):
    """Settings that contradict each other or break a safety rule."""


def setting(default: Any, description: str, flag: str = "", metavar: str = "", **bounds: float) -> Any:
    """Return a field. `flag`: its flag, if that is not the field's name; `metavar`: what the flag's value is called."""
    extra = {"flag": flag, "metavar": metavar}
    return Field(default=default, description=description, json_schema_extra=extra, **bounds)  # type: ignore[arg-type]


class Settings(BaseSettings):
    """Settings of the service. Environment variables carry the prefix SPIKESIGHT_; command-line flags override them.

    Only what an operator turns is a setting. Other limits are constants of this class, each with its reason.
    """

    model_config = SettingsConfigDict(env_prefix="SPIKESIGHT_", frozen=True, extra="forbid", protected_namespaces=())

    host: str = setting("127.0.0.1", "address to listen on")
    port: int = setting(8000, "port to listen on; 0 takes a free one", ge=0, le=65535)
    models: tuple[str, ...] = setting(
        (), "shipped name or folder, the first is the default; without, all shipped models", "model", "NAME|FOLDER"
    )
    token: SecretStr | None = setting(
        None, "bearer token that every request must carry; without, whoever reaches the port may ask"
    )
    insecure: bool = setting(False, "allow listening beyond this machine without a token")
    allowed_hosts: tuple[str, ...] = setting((), "further host name this service answers to", "allow-host", "NAME")
    allowed_origins: tuple[str, ...] = setting(
        (), "page of another origin that may use the service", "allow-origin", "ORIGIN"
    )
    trusted_proxies: tuple[str, ...] = setting(
        (), "address or network of a proxy whose X-Forwarded-For says who asks", "trusted-proxy", "ADDRESS"
    )
    cameras: tuple[str, ...] = setting((), "event source that the service opens itself", "camera", "SOURCE")
    camera_bin_ms: float | None = setting(
        None, "a step's length of the cameras' streams; without, the model's own", "bin-ms", gt=0, le=1000
    )
    sinks: tuple[str, ...] = setting((), "where cameras' predictions go: https://, mqtt://, file:", "to", "SINK")
    sinks_every_step: bool = setting(False, "send every step, not only changes of the label", "every-step")
    save_to: Path | None = setting(
        None, "folder that taught models are saved to and served from; without, none can be saved", "", "FOLDER"
    )

    max_body: int = setting(16 * MIB, "bytes of one request", ge=1)
    max_connections: int = setting(512, "open connections, of one address a quarter", ge=1)
    max_sessions: int = setting(64, "live streams, of one address three quarters", ge=1)
    max_queue: int = setting(32, "requests waiting or running, of one address three quarters; over it 503", ge=1)
    max_batch: int = setting(8, "streams and images stepped together", ge=1)
    requests_per_s: float | None = setting(None, "requests a second of one address; without, any number", gt=0)
    messages_per_s: float = setting(1000, "WebSocket messages a second of one stream", gt=0)
    receive_s: float = setting(10, "seconds a client may take to send one request, and to read on in its answer", gt=0)
    deadline_s: float = setting(10, "seconds an answer may take; over it 504", gt=0)
    threads: int | None = setting(
        None, "threads that share a model's step; without, as many as the machine grants", ge=1, le=1024
    )
    log_format: Literal["text", "json"] = setting("text", "how logs are written")

    max_message: ClassVar[int] = 4 * MIB  # bytes of one WebSocket message: a dense frame of 640 x 480 pixels fits
    max_pixels: ClassVar[int] = 2**24  # of one image, read from its head: 50 MB decoded, four times an HD picture
    max_recording_steps: ClassVar[int] = 3000  # of an upload: 30 s at the usual bin, a minute of a small machine's work
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


def flag_of(name: str) -> str:
    """Return the flag of a setting.

    >>> [flag_of(name) for name in ("models", "max_batch")]
    ['--model', '--max-batch']
    """
    extra: Any = Settings.model_fields[name].json_schema_extra
    return f"--{extra['flag'] or name.replace('_', '-')}"


def add_flags(parser: ArgumentParser) -> None:
    """Add a flag for each setting. Flags that are not given are absent from the arguments; values stay text."""
    for name, field in Settings.model_fields.items():
        extra: Any = field.json_schema_extra
        several = isinstance(field.default, tuple)
        default = "; repeat" if several else f" ({field.default})" if field.default not in (None, False) else ""
        kind: dict[str, Any] = {"action": "append" if several else "store", "metavar": extra["metavar"] or None}
        if field.annotation is bool:
            kind = {"action": "store_true"}
        elif isinstance(field.default, str):
            kind["choices"] = get_args(field.annotation) or None
        words = f"{field.description}{default}".replace("%", "%%")
        parser.add_argument(flag_of(name), dest=name, default=SUPPRESS, help=words, **kind)
