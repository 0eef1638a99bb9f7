"""`spikesight serve`: run the prediction service and its web page."""

import argparse
import errno
import os
import socket
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # really imported later, when the environment is set
    from spikesight.service.settings import Settings

DESCRIPTION = """Start the service on this machine and print the address to open.

Every setting is also a variable: SPIKESIGHT_PORT=9000, SPIKESIGHT_TOKEN=..., see docs/service/deployment.md."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's flags: one for each setting, and those of a cluster."""
    from spikesight.service.settings import add_flags

    add_flags(parser)
    add = parser.add_argument
    add("--cluster", action="store_true", help="serve from several processes, on Ray Serve ([cluster])")
    add("--replicas", type=int, default=2, metavar="N", help="processes of --cluster (2)")


def settings_from(args: argparse.Namespace) -> "Settings":
    """Return the settings: flags override environment variables, which override defaults. Raises ValueError."""
    from pydantic import ValidationError

    from spikesight.service.settings import Settings

    try:
        return Settings(**{name: value for name, value in vars(args).items() if name in Settings.model_fields})
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg'].lower()}") from None


def listen(host: str, port: int) -> socket.socket:
    """Return a bound socket. Raises ValueError with a hint if the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, True)
    try:
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRINUSE:
            raise ValueError(f"port {port} is taken: choose another with --port {port + 1}") from None
        why = (error.strerror or "no reason given").lower()
        raise ValueError(f"cannot listen on {host} port {port}: {why}") from None
    return sock


def address(host: str, port: int) -> str:
    """Return the address to open in a browser."""
    name = "localhost" if host in ("0.0.0.0", "::", "127.0.0.1") else f"[{host}]" if ":" in host else host
    return f"http://{'127.0.0.1' if host == '127.0.0.1' else name}:{port}"


def run(args: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM; return the exit code."""
    from spikesight.models.native.threads import granted, use_threads

    use_threads(granted())  # for the engine; the libraries' threads busy-wait, so they get one:
    os.environ.setdefault("OMP_NUM_THREADS", str(getattr(args, "threads", 1)))  # before torch is imported
    os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(2**24))  # before cv2 is imported
    settings = settings_from(args)
    settings.check()
    with listen(settings.host, settings.port) as sock:
        return serve_on(sock, settings, args)


def serve_on(sock: socket.socket, settings: "Settings", args: argparse.Namespace) -> int:
    """Import the service (slow) and run it; return the exit code."""
    from spikesight.service.http.logs import configure as configure_logs
    from spikesight.service.http.logs import event

    configure_logs(settings.log_format)
    event("starting: the first start on a processor may take a minute", models=",".join(settings.models) or "shipped")
    from spikesight.encoders.sources.source import open_source
    from spikesight.models.checkpoint import load
    from spikesight.models.shipped import find, names
    from spikesight.service.api import create_app
    from spikesight.service.http.server import serve
    from spikesight.service.sinks.delivery import open_deliveries

    folders = [find(name) for name in settings.models]
    names(folders)
    for folder in folders:  # reports a damaged model before anything starts
        load(folder)
    sys.setswitchinterval(0.001)  # the event loop, the decoder and the model take turns quickly
    url = address(settings.host, sock.getsockname()[1])
    greeting = f"""Spikesight: open {url}  (Ctrl-C stops)
  try there: play a recording, draw two digits, or start the camera and sway a digit on paper before it
  or here:   curl -F file=@picture.png {url}/v1/predict"""
    if args.cluster:
        from spikesight.service.cluster import serve_cluster

        return serve_cluster(settings, args.replicas, sock, greeting)
    sinks = open_deliveries(settings.sinks)
    app = create_app(settings, sources=tuple(map(open_source, settings.cameras)), sinks=sinks)
    return serve(app, sock, settings, greeting)
