"""The port of the explorer: HTTPS, client certificates, and flags that belong together."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from detector.config.tls_files import TlsFiles
from detector.errors import ConfigError
from detector.explore.source import source_of
from detector.explore.web.serve import Explorer, listen, opened, protected
from detector.login import Login
from streamgauge import main
from tests.detector.explore.explored import ADA, START_NS, scores_of, write_backtest
from tests.security.http_client import fetch, login, trusting
from tests.support.certificates import Authority
from tests.support.secrets import planted

PASSWORD = planted("explorer-password")


def flags(certificate: str, key: str, authorities: str | None = None) -> TlsFiles:
    """The files as the flags of the command name them."""
    return TlsFiles("", "--tls-", certificate, key, authorities, ca_key="client-cafile")


def test_https_with_client_certificates_and_a_login(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    own, client = authority.issue("127.0.0.1"), authority.issue("ada.example.org")
    files = flags(str(own.certificate), str(own.key), str(authority.file))
    names, times = np.repeat(np.array(["a"], dtype=object), 20), START_NS + np.arange(20) * 60 * 10**9
    source = write_backtest(tmp_path / "out", scores_of(names, times, 0, 0.0), [])
    shown, listening = opened(source_of(str(source)), ADA), listen("127.0.0.1", 0)
    with closing(Explorer(shown, listening, protected(Login.of("ada", PASSWORD), files))) as explorer:
        assert explorer.address.startswith("https://")
        path, right = f"{explorer.address}api/v1/source", login("ada", PASSWORD)
        status, body = fetch(path, trusting(authority.file, client), **right)
        assert (status, json.loads(body)["rows"]) == (200, 20)
        assert fetch(path, trusting(authority.file, client))[0] == 401
        assert fetch(path, trusting(authority.file), **right)[0] == 0  # no handshake without a certificate


def test_files_that_cannot_be_used_are_errors_that_name_the_flag(tmp_path: Path) -> None:
    own = Authority(tmp_path).issue("127.0.0.1")
    with pytest.raises(ConfigError, match=r"^--tls-keyfile: /nowhere: No such file"):
        protected(None, flags(str(own.certificate), "/nowhere"))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--tls-certfile", "a.pem"), "--tls-certfile and --tls-keyfile belong together"),
        (("--tls-keyfile", "a.pem"), "--tls-certfile and --tls-keyfile belong together"),
        (("--tls-client-cafile", "a.pem"), "--tls-client-cafile needs --tls-certfile and --tls-keyfile"),
        (("--tls-certfile", "/no", "--tls-keyfile", "/no"), "--tls-certfile: /no: No such file"),
    ],
)
def test_flags_that_belong_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], told: str
) -> None:
    assert main(["explore", str(tmp_path), "--port", "0", "--no-browser", *words]) == 2
    assert told in capsys.readouterr().err
