"""Container health check: `python -m spikesight.service.http.health [PORT]` exits with 0 if the service answers.

It imports little, as it runs often.
"""

import http.client
import os
import sys
from contextlib import closing

TIMEOUT_S = 2.0


def lives(port: int) -> bool:
    """Return whether a service on this port of 127.0.0.1 answers."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)) as connection:
        try:
            connection.request("GET", "/health/live")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False


if __name__ == "__main__":
    given = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("SPIKESIGHT_PORT", "8000")
    sys.exit(0 if lives(int(given)) else 1)
