"""What an archive promises in a directory and on a real S3 server alike: owners, crashes, readers."""

from __future__ import annotations

from pathlib import Path

import pytest

from connectors.errors import ObjectsError
from detector.explore.archive.live_store import LiveStore
from detector.explore.queries.fleet import FleetQuery, fleet
from detector.explore.storage.object_storage import ObjectStorage
from detector.explore.storage.place import Place
from detector.explore.storage.storage import OwnershipLostError, SegmentKey
from detector.explore.store.layout import DAY_NS, ExploreError
from detector.explore.whatif.replay import database_at
from tests.detector.explore.archive.written import (
    alert,
    archive_in,
    batch,
    empty,
    held,
    is_clean,
    minutes_of,
    scores_message,
)
from tests.detector.explore.explored import START_NS
from tests.detector.explore.storage.conftest import Opener
from tests.detector.explore.storage.object_store import GcsStore, ObjectStore

DAY = 1440
objects = pytest.mark.objects


def test_a_new_place_is_empty_and_has_one_owner_at_a_time(opener: Opener) -> None:
    first, second = opener(), opener()
    assert (first.look(), first.strangers()) == ((None, None), [])
    with pytest.raises(ExploreError, match=r"holds no archive; start `streamgauge archive"):
        LiveStore(first, START_NS)
    assert first.claim() is None
    empty(first)
    first.beat("the broker is away")
    assert first.strangers() == []
    manifest, sign = second.look()
    assert manifest == held(first)
    assert sign is not None
    assert (sign.problem, sign.ended) == ("the broker is away", False)
    first.release()
    assert second.look()[1].ended  # type: ignore[union-attr]  # an owner gave it
    assert second.claim() is None
    assert second.look()[0] == manifest
    second.release()


def test_what_one_appends_two_others_read_with_merges_and_late_rows(opener: Opener) -> None:
    owner = opener()
    assert owner.claim() is None
    archive = archive_in(owner)
    readers = [LiveStore(opener(), START_NS) for _ in range(2)]
    expected = []
    for at in range(10):
        minutes = [at, DAY + at, 2 * DAY + 20 - at]
        expected += [("a", minute) for minute in minutes]
        archive.append(batch([scores_message("a", minutes)], [alert("opened", f"i{at}", "a", at)]))
        archive.append(batch([scores_message("a", minutes[:1])]))  # it comes twice
        archive.tidy()
    for reader in readers:
        assert reader.refresh()
        assert not reader.refresh()
        found = fleet(reader.database, FleetQuery(START_NS, START_NS + 3 * DAY_NS))
        assert [(one["rows"], one["incidents"]) for one in found["series"]] == [(30, 10)]
        assert reader.database.execute("SELECT count(*) FROM verdicts") == [(30,)]
        reader.close()
    assert minutes_of(opener()) == sorted(expected)
    archive.close()
    owner.release()


def test_what_a_killed_owner_left_is_removed_and_does_not_count(opener: Opener) -> None:
    killed = opener()
    assert killed.claim() is None
    archive = archive_in(killed)
    archive.append(batch([scores_message("a", [1])]))
    key = SegmentKey("verdicts", "2026-01-01", killed.segment_name(7))
    killed.scratch(key).write_bytes(b"whole or not, nobody names it")
    killed.complete(key)
    archive.close()
    assert not is_clean(killed)
    assert minutes_of(opener()) == [("a", 1)]
    killed.release()
    again = opener()
    assert again.claim() is None
    archive = archive_in(again)
    assert is_clean(again)
    archive.append(batch([scores_message("a", [1, 2])]))
    archive.close()
    assert minutes_of(opener()) == [("a", 1), ("a", 2)]
    again.release()


@objects
def test_of_two_owners_on_object_storage_the_later_one_counts_and_the_first_is_told(
    object_store: ObjectStore, tmp_path: Path
) -> None:
    """The first one stands still for longer than the patience, so that another one takes over."""
    uri = object_store.uri(tmp_path.name)
    first = ObjectStorage(uri, tmp_path / "1", 10**9, patience_seconds=1.0)
    assert first.claim() is None
    old = archive_in(first)
    for minute in range(7):
        old.append(batch([scores_message("a", [minute])]))
    second = ObjectStorage(uri, tmp_path / "2", 10**9, patience_seconds=1.0)
    assert second.claim() is None
    new = archive_in(second)
    new.append(batch([scores_message("a", [7])]))
    with pytest.raises(OwnershipLostError, match=r"process \d+ on .* archives there now; start only one"):
        old.append(batch([scores_message("a", [7, 8])]))
    with pytest.raises(OwnershipLostError):
        first.beat("")
    with pytest.raises(OwnershipLostError):
        first.remove(first.segments())
    new.append(batch([scores_message("a", [8])]))
    reader = ObjectStorage(uri, tmp_path / "3", 10**9)
    assert minutes_of(reader) == [("a", minute) for minute in range(9)]
    old.close()
    new.close()
    second.release()


@objects
def test_an_owner_that_works_is_left_alone(object_store: ObjectStore, tmp_path: Path) -> None:
    uri = object_store.uri(tmp_path.name)
    first = ObjectStorage(uri, tmp_path / "1", 10**9)
    assert first.claim() is None
    empty(first)

    class Watched(ObjectStorage):
        """The first owner gives a sign whenever this one looks."""

        def _sign(self, owner: str):  # type: ignore[no-untyped-def]  # as its parent
            found = super()._sign(owner)
            first.beat("")
            return found

    second = Watched(uri, tmp_path / "2", 10**9)
    working = second.claim()
    assert working is not None
    assert "process" in working.who
    first.beat("")  # it is still the owner
    first.release()


@objects
def test_copies_stay_within_their_bound_and_only_what_is_asked_is_fetched(
    object_store: ObjectStore, tmp_path: Path
) -> None:
    uri = object_store.uri(tmp_path.name)
    owner = ObjectStorage(uri, tmp_path / "1", 10**9)
    assert owner.claim() is None
    archive = archive_in(owner)
    for day in range(6):
        archive.append(batch([scores_message("a", range(day * DAY, day * DAY + 600))]))
    size = archive.manifest.segments["verdicts"]["2026-01-01"][0].num_bytes
    cache = tmp_path / "2"
    reader = LiveStore(ObjectStorage(uri, cache, 10**9), START_NS)
    fetched = [one.parent.name for one in cache.rglob("verdicts/*/*.parquet")]
    assert fetched == ["day=2026-01-01"]  # of files with the same columns the first one, for their types
    day = "day = DATE '2026-01-03'"
    assert reader.database.execute(f"SELECT count(*) FROM verdicts WHERE {day}") == [(600,)]
    days = {one.parent.name for one in cache.rglob("verdicts/*/*.parquet")}
    assert days == {"day=2026-01-01", "day=2026-01-03"}
    reader.close()
    cache = tmp_path / "4"
    reader = LiveStore(ObjectStorage(uri, cache, 3 * size), START_NS)
    for _ in range(2):
        assert reader.database.execute("SELECT count(*), sum(score) FROM verdicts")[0][0] == 3600
        copies = list(cache.rglob("*.parquet"))
        assert sum(one.stat().st_size for one in copies) <= 3 * size
    reader.close()
    child = database_at(Place(uri, str(tmp_path / "3")))  # as the process of a what-if opens it
    assert child.execute("SELECT count(*) FROM verdicts") == [(3600,)]
    child.close()
    archive.close()
    owner.release()


@objects
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "check the credentials"),
        ({"AWS_ACCESS_KEY_ID": "nobody"}, "check the credentials"),
    ],
)
def test_wrong_credentials_are_named(
    object_store: ObjectStore,
    tmp_path: Path,
    change: dict[str, str],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in change.items():
        monkeypatch.setenv(name, value)
    storage = ObjectStorage(object_store.uri("x"), tmp_path, 10**9)
    for attempt in (storage.look, storage.claim):
        with pytest.raises(ObjectsError, match=words) as caught:
            attempt()
        assert "s3://plant/x" in str(caught.value)
        assert "wrong" not in str(caught.value)


@objects
def test_a_bucket_that_is_not_there_is_named(object_store: ObjectStore, tmp_path: Path) -> None:
    storage = ObjectStorage(object_store.uri("x", "no-such-bucket"), tmp_path, 10**9)
    with pytest.raises(ObjectsError, match=r"s3://no-such-bucket/x.*create the bucket"):
        storage.claim()


@objects
def test_a_bucket_that_is_not_on_google_cloud_storage_is_named(gcs_store: GcsStore, tmp_path: Path) -> None:
    storage = ObjectStorage(gcs_store.uri("x", "no-such-bucket"), tmp_path, 10**9)
    with pytest.raises(ObjectsError, match=r"gs://no-such-bucket/x.*create the bucket"):
        storage.claim()


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("ftp://host/x", r"ftp://host/x: cannot be used: .*write a URI such as s3://bucket"),
        ("s3://", "names no bucket"),
        ("s3://key:secret@bucket/x?regoin=y", r"s3://bucket/x\?regoin=y: cannot be used: .*regoin"),
    ],
)
def test_a_wrong_uri_is_refused_in_words_without_its_secrets(uri: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(ObjectsError, match=words) as caught:
        ObjectStorage(uri, tmp_path, 10**9)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "uri",
    [
        "s3://b/x?endpoint_override=127.0.0.1:9&scheme=http&region=us-east-1",
        "gs://anonymous@b/x?endpoint_override=127.0.0.1:9&scheme=http&retry_limit_seconds=1",
    ],
)
def test_a_server_that_does_not_answer_is_named(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    with pytest.raises(ObjectsError, match="check that the server runs"):
        ObjectStorage(uri, tmp_path, 10**9).look()
