"""`python -m spikesight.service.http.health [PORT]`: exit code 0 while this machine's service lives, on http or https.

For a container's health check, which does not know with what flags the service was started; light, for it runs often.
"""

import http.client
import os
import ssl
import sys

TIMEOUT_S = 2.0


def lives(port: int) -> bool:
    """Whether the service on that port of 127.0.0.1 says so. Its certificate is another machine's to check."""
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
