"""What a broker's refusal means and which setting cures it; no waiting would."""

from __future__ import annotations

_CURES = (
    # As OpenSSL and the Kafka client say it, the first that fits.
    (
        ("Hostname mismatch", "IP address mismatch"),
        "its certificate is for another name: check [kafka] bootstrap_servers and what brokers advertise",
    ),
    (
        ("certificate has expired", "certificate is not yet valid"),
        "its certificate is not valid now: renew it, or set this machine's clock",
    ),
    (
        ("CERTIFICATE_VERIFY_FAILED",),
        "its certificate is not signed by an authority that we trust: check [kafka] ssl_cafile",
    ),
    (
        ("ALERT_BAD_CERTIFICATE", "ALERT_CERTIFICATE_", "ALERT_UNKNOWN_CA", "ALERT_ACCESS_DENIED"),
        "it does not accept our certificate: check [kafka] ssl_certfile and ssl_keyfile",
    ),
    (
        ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"),
        "it does not speak TLS there: check the port in [kafka] bootstrap_servers, and security_protocol",
    ),
    (
        ("UnsupportedSaslMechanism",),
        "it does not offer this way to log in: check [kafka] sasl_mechanism",
    ),
    (
        ("SaslAuthenticationFailed",),
        "it refused our credentials: check [kafka] sasl_username and the password, sasl_password_file",
    ),
)


def remedy_for(problem: str) -> str | None:
    """What to do about the problem in these words, or None where waiting may help."""
    for signs, cure in _CURES:
        if any(sign in problem for sign in signs):
            return cure
    return None
