"""Check the health of the daemon on this machine, for health checks that can only start a process.

    python -m detector.probe [PATH] [PORT]     # exit status 0: healthy, 1: not

A container's health check is of that kind. The probe uses HTTP or HTTPS, whichever the daemon serves. It
does not verify the certificate, because the connection never leaves the machine. The daemon asks probes
neither for a client certificate nor for a password, unless `[http] open_probes = false`. This module imports
only the standard library, so that it starts quickly.
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
    """Return the exit status, and write a line to standard error if the daemon is not healthy.

    Args:
        argv: Up to two arguments, path and port. Their defaults are /healthz and the configured port.

    Returns:
        0 if the daemon answered 200, else 1.
    """
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
    """Return the status of a GET request to this machine; use TLS if the server does not understand HTTP.

    Args:
        path: Path of the request, such as /healthz.
        port: TCP port of the server.

    Raises:
        OSError: There was no connection or no answer in time.
        http.client.HTTPException: The answer is not HTTP.
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
