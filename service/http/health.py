"""Container health check: `python -m spikesight.service.http.health [PORT]` exits with 0 if the service answers.

It tries http and https, as it does not know the service's flags, and imports little, as it runs often.
"""

import http.client
import os
import ssl
import sys

TIMEOUT_S = 2.0


def lives(port: int) -> bool:
    """Return whether a service on this port of 127.0.0.1 answers; its certificate is not verified."""
    unchecked = ssl.create_default_context()
    unchecked.check_hostname, unchecked.verify_mode = False, ssl.CERT_NONE
    for connection in (
        http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S),
        http.client.HTTPSConnection("127.0.0.1", port, timeout=TIMEOUT_S, context=unchecked),
    ):
        try:
            connection.request("GET", "/health/live")
            if connection.getresponse().status == 200:
                return True
        except (OSError, http.client.HTTPException):
            continue
        finally:
            connection.close()
    return False


if __name__ == "__main__":
    given = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("SPIKESIGHT_PORT", "8000")
    sys.exit(0 if lives(int(given)) else 1)
