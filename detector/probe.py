"""`python -m detector.probe [PATH] [PORT]`: exit with 0 if the daemon on this machine answers 200.

Health checks of containers can only start a process; this is that process. It uses HTTP, or HTTPS if the
daemon does. It does not verify the certificate, because the connection stays on this machine. It imports
little, so it starts fast. The daemon asks probes for no password or client certificate, unless `[http]
open_probes = false`.
"""

from __future__ import annotations

import http.client
import os
import ssl
import sys
from collections.abc import Sequence

_SECONDS = 4.0
DEFAULT_PATH, DEFAULT_PORT = "/healthz", "9108"


def main(argv: Sequence[str]) -> int:
    """Return 0 if the daemon is healthy; else print the reason on standard error and return 1."""
    path = argv[0] if argv else DEFAULT_PATH
    port = argv[1] if len(argv) > 1 else os.environ.get("STREAMGAUGE_HTTP__PORT", DEFAULT_PORT)
    try:
        status = answer(path, int(port))
    except (OSError, http.client.HTTPException, ValueError) as error:
        print(f"{path} of port {port}: {error!r}", file=sys.stderr)
        return 1
    if status != http.client.OK:
        print(f"{path} of port {port}: status {status}", file=sys.stderr)
    return 0 if status == http.client.OK else 1


def answer(path: str, port: int) -> int:
    """Return the status of a GET, over TLS if the port does not answer plain HTTP.

    Raises:
        OSError: There is no connection.
        http.client.HTTPException: The answer is not valid HTTP.
    """
    try:
        return _status(http.client.HTTPConnection("127.0.0.1", port, timeout=_SECONDS), path)
    except (http.client.BadStatusLine, ConnectionResetError):
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        secure = http.client.HTTPSConnection("127.0.0.1", port, timeout=_SECONDS, context=context)
        return _status(secure, path)


def _status(connection: http.client.HTTPConnection, path: str) -> int:
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
