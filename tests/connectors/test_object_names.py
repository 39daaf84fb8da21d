"""What is shown of the URI of an object storage: no credential, wherever in it one stands."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from connectors.errors import ObjectsError
from connectors.objects.names import without_secrets
from connectors.objects.objects import Objects

AZURE = "abfss://account/models/pump?tenant_id=t&client_id=i"


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        (f"{AZURE}&client_secret=HIDDEN", AZURE),
        ("abfs://a/c?client_secret=HIDDEN&client_id=i", "abfs://a/c?client_id=i"),
        ("abfs://a/c?client%5Fsecret=HIDDEN", "abfs://a/c"),
        ("abfs://a/c?sv=2024&sig=HIDDEN&se=2027", "abfs://a/c?sv=2024&se=2027"),
        ("abfs://:HIDDEN@a/c?account_key=HIDDEN&enable_tls=true", "abfs://a/c?enable_tls=true"),
        ("s3://b/p?Secret_Key=HIDDEN&access-key=HIDDEN&region=eu", "s3://b/p?region=eu"),
        ("s3://b/p?X-Amz-Signature=HIDDEN&session_token=HIDDEN", "s3://b/p"),
        ("gs://b/p?access_token=HIDDEN&sas_token=HIDDEN&password=HIDDEN", "gs://b/p"),
        ("s3://key:HIDDEN@b/p?client_secret=HIDDEN", "s3://b/p"),
    ],
)
def test_credentials_are_not_shown_and_everything_else_is(uri: str, shown: str) -> None:
    assert without_secrets(uri) == shown
    assert without_secrets(shown) == shown


@pytest.mark.parametrize(
    "uri",
    [
        "s3://b/p?region=eu-central-1&scheme=http&endpoint_override=localhost%3A9000&allow_delayed_open=true",
        "abfs://a/c?tenant_id=t&client_id=i&enable_tls=false&credential_kind=default",
        "gs://b/secret/token?retry_limit_seconds=10",
        "s3://b/p?",
        "file:///data/client_secret=x",
        "/data/what?client_secret=x",
    ],
)
def test_a_place_without_credentials_stays_as_it_is(uri: str) -> None:
    assert without_secrets(uri) == uri


def test_an_error_of_the_storage_has_no_secret_of_its_options() -> None:
    with pytest.raises(ObjectsError, match=r"^abfs://a/c\?unknown=1: cannot be used") as told:
        Objects("abfs://a/c?unknown=1&client_secret=HIDDEN")
    assert "HIDDEN" not in str(told.value)


@pytest.mark.parametrize(("times", "found"), [(1, b"new"), (2, None)])
def test_an_object_that_is_replaced_while_it_is_read_is_read_once_more(
    times: int, found: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects = Objects(tmp_path.as_uri())
    objects.write("sign", b"new")
    opened, failures = objects._input, iter(range(times))

    def torn(name: str) -> pa.NativeFile:
        if next(failures, None) is not None:
            raise OSError("AWS Error VALIDATION during GetObject operation: Response checksums mismatch")
        return opened(name)

    monkeypatch.setattr(objects, "_input", torn)
    if found is None:
        with pytest.raises(ObjectsError, match="cannot read sign"):
            objects.read("sign")
    else:
        assert objects.read("sign") == found
