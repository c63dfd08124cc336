import multiprocessing
import os
import shutil
import signal
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import boto3
import numpy as np
import pytest

from data_collection.cluster.storage import DamagedError, Storage
from tests.support.servers import s3_server, sftp_server
from trainer.errors import ConfigError, DataError
from trainer.files import sha256_of

BYTES = np.random.default_rng(0).integers(0, 256, 300_000, dtype=np.uint8).tobytes()


class Local:
    """A folder as a storage; what the others do is compared with what lies in it."""

    def __init__(self, folder: Path) -> None:
        self.url = str(folder)
        self._folder = folder

    def names(self) -> set[str]:
        files = (path for path in self._folder.rglob("*") if path.is_file())
        return {str(path.relative_to(self._folder)) for path in files}

    def read(self, key: str) -> bytes:
        return (self._folder / key).read_bytes()

    def write(self, key: str, data: bytes) -> None:
        path = self._folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


class Sftp(Local):
    def __init__(self, url: str, folder: Path) -> None:
        super().__init__(folder)
        self.url = url


class S3:
    def __init__(self, address: str) -> None:
        self.url = "s3://bucket/rounds"
        self._client = boto3.client("s3", endpoint_url=address)
        self._client.create_bucket(Bucket="bucket")

    def names(self) -> set[str]:
        found = self._client.list_objects_v2(Bucket="bucket").get("Contents", [])
        return {item["Key"].removeprefix("rounds/") for item in found}

    def read(self, key: str) -> bytes:
        return self._client.get_object(Bucket="bucket", Key=f"rounds/{key}")["Body"].read()

    def write(self, key: str, data: bytes) -> None:
        self._client.put_object(Bucket="bucket", Key=f"rounds/{key}", Body=data)


@pytest.fixture(params=["folder", "sftp", "s3"])
def server(request, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    if request.param == "folder":
        yield Local(tmp_path / "store")
    elif request.param == "sftp":
        root = tmp_path / "store"
        root.mkdir()
        with sftp_server(root, tmp_path / "home") as url:
            yield Sftp(url, root / "rounds")
    else:
        for name, value in {"ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b"}.items():
            monkeypatch.setenv(f"AWS_{name}", value)
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        with s3_server() as address:
            monkeypatch.setenv("AWS_ENDPOINT_URL", address)
            yield S3(address)


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "source.bin"
    path.write_bytes(BYTES)
    return path


def test_what_is_put_is_got_and_nothing_else_is_seen(server, source, tmp_path):
    storage = Storage(server.url)
    assert storage.sizes("a/episodes") == {}
    with ThreadPoolExecutor(3) as pool:  # threads share a storage
        list(pool.map(lambda i: storage.put(source, f"a/episodes/{i}.h5"), range(3)))
    assert server.names() == {f"a/episodes/{i}.h5" for i in range(3)}
    assert server.read("a/episodes/1.h5") == BYTES
    assert storage.sizes("a/episodes") == dict.fromkeys(("0.h5", "1.h5", "2.h5"), len(BYTES))
    target = tmp_path / "target.h5"
    storage.get("a/episodes/2.h5", target, sha256_of(source))
    assert target.read_bytes() == BYTES
    assert not list(tmp_path.glob(".*.part"))


@pytest.fixture
def copied(monkeypatch):
    """Let the network fail once, after 200,000 bytes; return how many each attempt copied."""
    counts: list[int] = []

    def copy(reader, writer, _) -> None:
        data = reader.read() if counts else reader.read(200_000)
        writer.write(data)
        counts.append(len(data))
        if len(counts) == 1:
            raise OSError("the network is down")

    monkeypatch.setattr("data_collection.cluster.storage.shutil.copyfileobj", copy)
    monkeypatch.setattr("data_collection.cluster.storage._PAUSES_S", (0.0,))
    return counts


def test_a_copy_goes_on_where_it_stopped(server, source, tmp_path, copied):
    server.write("a.h5", BYTES)
    Storage(server.url).get("a.h5", tmp_path / "target.h5", sha256_of(source))
    assert (tmp_path / "target.h5").read_bytes() == BYTES
    assert copied == [200_000, 100_000]


def test_a_copy_goes_on_after_a_new_start(server, source, tmp_path, copied):
    server.write("a.h5", BYTES)
    (tmp_path / ".target.h5.part").write_bytes(BYTES[:60_000])
    Storage(server.url).get("a.h5", tmp_path / "target.h5", sha256_of(source))
    assert (tmp_path / "target.h5").read_bytes() == BYTES
    assert copied == [200_000, 40_000]


def test_a_copy_that_began_with_other_bytes_is_begun_afresh(server, source, tmp_path):
    Storage(server.url).put(source, "a.h5")
    (tmp_path / ".target.h5.part").write_bytes(bytes(200_000))
    Storage(server.url).get("a.h5", tmp_path / "target.h5", sha256_of(source))
    assert (tmp_path / "target.h5").read_bytes() == BYTES


def test_damage_is_noticed_and_leaves_nothing(server, source, tmp_path):
    server.write("a.h5", BYTES[:-1] + b"\0")
    with pytest.raises(DamagedError, match="its hash is not the one on record"):
        Storage(server.url).get("a.h5", tmp_path / "target.h5", sha256_of(source))
    with pytest.raises(DamagedError, match="there is no such file"):
        Storage(server.url).get("b.h5", tmp_path / "target.h5")
    assert {path.name for path in tmp_path.iterdir()} <= {"source.bin", "home", "store"}


@pytest.mark.parametrize("server", ["folder", "sftp"], indirect=True)
def test_an_upload_goes_on_where_it_stopped(server, source, copied):
    Storage(server.url).put(source, "a.h5")
    assert server.read("a.h5") == BYTES
    assert copied == [200_000, 100_000]
    assert server.names() == {"a.h5"}


def test_a_file_never_shows_before_it_is_whole(tmp_path, source):
    """A reader who looks all the time sees the whole file or none."""
    storage, seen, stop = Storage(str(tmp_path / "store")), set(), threading.Event()
    final = tmp_path / "store" / "a.h5"

    def look() -> None:
        while not stop.is_set():
            if final.exists():
                seen.add(final.stat().st_size)

    reader = threading.Thread(target=look)
    reader.start()
    for _ in range(20):
        storage.put(source, "a.h5")
    stop.set()
    reader.join()
    assert seen == {len(BYTES)}


def test_nodes_that_write_the_same_file_at_once_do_not_disturb_each_other(
    tmp_path, source, monkeypatch, caplog
):
    """As when a job was handed out twice: the bytes are the same."""
    together = threading.Barrier(2, timeout=60)

    def hash_together(path: Path) -> str:
        together.wait()
        return sha256_of(path)

    monkeypatch.setattr("data_collection.cluster.storage.sha256_of", hash_together)
    with ThreadPoolExecutor(2) as pool:
        for i in range(10):
            nodes = [Storage(str(tmp_path / "store")) for _ in range(2)]
            list(pool.map(lambda node, i=i: node.put(source, f"{i}.h5"), nodes))
            assert (tmp_path / "store" / f"{i}.h5").read_bytes() == BYTES
    assert len(list((tmp_path / "store").iterdir())) == 10
    assert "another attempt" not in caplog.text


@pytest.mark.parametrize("key", ["/etc/passwd", "../a", "a/../../b", "", "a\\b", "a\0b"])
def test_a_key_cannot_leave_the_root(tmp_path, source, key):
    with pytest.raises(ConfigError, match="is no path below"):
        Storage(str(tmp_path / "store")).put(source, key)


def test_a_link_cannot_leave_the_root(tmp_path, source):
    (tmp_path / "store").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "store" / "link").symlink_to(tmp_path / "outside")
    with pytest.raises(ConfigError, match="through a link"):
        Storage(str(tmp_path / "store")).put(source, "link/a")
    assert not any((tmp_path / "outside").iterdir())


def test_an_unknown_protocol_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"ftps9://host/x: .* brings sftp and s3"):
        Storage("ftps9://host/x")


def test_a_server_with_an_unknown_key_is_not_trusted(tmp_path, monkeypatch, source):
    home, root = tmp_path / "home", tmp_path / "store"
    monkeypatch.setenv("HOME", str(home))
    root.mkdir()
    with sftp_server(root, home) as url:
        (home / ".ssh" / "known_hosts").unlink()
        with pytest.raises(ConfigError, match=r"known_hosts does not hold .* ssh-keyscan -p \d+"):
            Storage(url).put(source, "a.h5")
    assert list(root.iterdir()) == []


def test_a_server_that_is_gone_is_an_error_after_a_few_attempts(tmp_path, monkeypatch, source):
    monkeypatch.setattr("data_collection.cluster.storage._PAUSES_S", (0.0,))
    with pytest.raises(DataError, match="check the address, the credentials"):
        Storage("sftp://me@127.0.0.1:1/rounds").put(source, "a.h5")


def test_a_server_that_hangs_is_an_error_after_a_few_attempts(tmp_path, monkeypatch, source):
    monkeypatch.setattr("data_collection.cluster.storage._PAUSES_S", (0.0,))
    monkeypatch.setattr("data_collection.cluster.storage._SSH_SILENT_S", 1.0)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "store").mkdir()
    with sftp_server(tmp_path / "store", tmp_path / "home") as url:
        storage = Storage(url)
        storage.put(source, "a.h5")
        (server,) = multiprocessing.active_children()
        os.kill(server.pid, signal.SIGSTOP)
        with pytest.raises(DataError, match=r"writing b\.h5 failed: .* check the address"):
            storage.put(source, "b.h5")


@pytest.fixture
def tiny_disk(tmp_path):
    """Mount a disk of 64 KiB where the servers have their files."""
    folder = tmp_path / "store"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this user may not mount a tmpfs")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_told_as_such(tiny_disk, source):
    with pytest.raises(
        DataError, match=r"writing a\.h5 failed: .*No space left.*; free some space"
    ):
        Storage(str(tiny_disk)).put(source, "a.h5")


def test_a_full_disk_of_an_sftp_server_is_named_as_a_possible_cause(
    tiny_disk, tmp_path, source, monkeypatch
):
    """The protocol has no number for it."""
    monkeypatch.setattr("data_collection.cluster.storage._PAUSES_S", (0.0,))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    with (
        sftp_server(tiny_disk, tmp_path / "home") as url,
        pytest.raises(DataError, match=r"writing a\.h5 failed: .*, or its disk is full$"),
    ):
        Storage(url).put(source, "a.h5")
