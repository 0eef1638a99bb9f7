"""The server's orderly end: whoever has connected gets an answer, not a reset."""

import asyncio
import signal
import socket

from service.api import create_app
from service.http.server import server
from service.settings import Settings
from tests.support.models import tiny
from tests.support.serving.http import get, status_of

REQUEST = get("/v1/models").replace(b"Connection: close\r\n", b"")


def test_requests_that_arrive_as_the_port_closes_are_answered() -> None:
    settings = Settings()

    async def ended() -> list[bytes]:
        listening = socket.socket()
        listening.bind(("127.0.0.1", 0))
        address = listening.getsockname()
        served = server(create_app(settings, (tiny(),)), settings)
        served.config.load()
        served.lifespan = served.config.lifespan_class(served.config)
        await served.startup([listening])
        reader, writer = await asyncio.open_connection(*address)
        writer.write(REQUEST)
        assert b" 200 " in await reader.readline()
        served.handle_exit(signal.SIGTERM, None)
        with socket.create_connection(address) as waiting:  # the loop does not run meanwhile: nobody accepts it
            waiting.sendall(REQUEST)
            writer.write(REQUEST)
            await served.shutdown([listening])
            rest = await reader.read()
            waiting.settimeout(5)
            writer.close()
            return [rest[rest.index(b"HTTP/1.1") :], waiting.recv(65536)]

    assert [status_of(answer) for answer in asyncio.run(ended())] == [503, 503]
