"""Datasets fetched from a web server of this test and from folders: whole or not at all."""

import dataclasses
import fcntl
import gzip
import hashlib
import io
import re
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from addercore.config import DATASETS, DatasetInfo
from addercore.data.__main__ import FAILED, UNKNOWN
from addercore.data.__main__ import main as data_main
from addercore.data.cifar import to_binary
from addercore.data.fetch import FetchError, fetch
from addercore.data.published import DOWNLOADS, Download
from addercore.errors import BadData
from tests.addercore.data import python_cifar
from tests.addercore.data.data_files import cifar_files, idx_bytes, small


class Host:
    """A web server whose files may break off once after so many bytes, and which may ignore ranges."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.break_after: int | None = None
        self.ranges = True
        self.asked: list[str | None] = []  # the Range of each request
        host = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                host.answer(self)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}/"

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        content = self.files.get(request.path.lstrip("/"))
        asked = request.headers.get("Range")
        self.asked.append(asked)
        if content is None:
            request.send_error(404)
            return
        begin = int(re.findall(r"\d+", asked)[0]) if asked and self.ranges else 0
        rest, cut = content[begin:], self.break_after
        request.send_response(206 if begin else 200)
        request.send_header("Content-Length", str(len(rest)))
        request.end_headers()
        self.break_after = None
        request.wfile.write(rest if cut is None else rest[:cut])


@pytest.fixture
def host() -> Iterator[Host]:
    made = Host()
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


def archive_of(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in {"readme.html": b"hello", **files}.items():
            member = tarfile.TarInfo(f"cifar-batches-bin/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def sums(files: dict[str, bytes]) -> tuple[str, ...]:
    return tuple(hashlib.sha256(content).hexdigest() for content in files.values())


@dataclasses.dataclass
class Case:
    info: DatasetInfo
    downloads: list[Download]
    files: dict[str, bytes]


@pytest.fixture
def cifar(host: Host) -> Case:
    info = small("cifar10", 4)
    files = cifar_files(info, 4)
    info = dataclasses.replace(info, checksums=sums(files))
    packed = archive_of(files)
    host.files[info.archive] = packed
    digest = hashlib.sha256(packed).hexdigest()
    return Case(info, [Download(info.archive, len(packed), digest, (host.address + info.archive,))], files)


@pytest.fixture
def fashion(host: Host) -> Case:
    info = dataclasses.replace(DATASETS["fashion_mnist"], train_size=6, validation_size=4)
    rng = np.random.default_rng(2)
    files, downloads = {}, []
    for name, size in zip(info.files, (6, 6, 4, 4), strict=True):
        shape = (size, 28, 28) if "images" in name else (size,)
        files[name] = idx_bytes(rng.integers(0, 10, shape, dtype=np.uint8))
        packed = gzip.compress(files[name])
        host.files[f"{name}.gz"] = packed
        digest = hashlib.sha256(packed).hexdigest()
        addresses = host.address + "elsewhere/" + name, f"{host.address}{name}.gz"
        downloads.append(Download(f"{name}.gz", len(packed), digest, addresses))
    return Case(dataclasses.replace(info, checksums=sums(files)), downloads, files)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_an_archive_is_unpacked_and_not_fetched_again(tmp_path: Path, host: Host, cifar: Case) -> None:
    said: list[str] = []
    folder = fetch(cifar.info, cifar.downloads, tmp_path / "new", say=said.append)
    assert folder == tmp_path / "new" / "cifar10"
    assert names(folder) == sorted(cifar.files)
    assert {name: (folder / name).read_bytes() for name in cifar.files} == cifar.files
    assert "20 training and 4 validation images, checked" in said[-1]
    fetch(cifar.info, cifar.downloads, tmp_path / "new", say=said.append)
    assert len(host.asked) == 1
    (folder / "test_batch.bin").write_bytes(b"\0" * (4 * 3073))
    with pytest.raises(BadData, match=r"test_batch\.bin is not the published file.*remove it"):
        fetch(cifar.info, cifar.downloads, tmp_path / "new")


def test_files_of_the_second_address_stay_compressed(tmp_path: Path, fashion: Case) -> None:
    folder = fetch(fashion.info, fashion.downloads, tmp_path)
    assert names(folder) == sorted(f"{name}.gz" for name in fashion.files)


@pytest.mark.parametrize("ranges", [True, False])
def test_a_download_that_breaks_off_goes_on(tmp_path: Path, host: Host, cifar: Case, ranges: bool) -> None:
    host.break_after, host.ranges = 1000, ranges
    fetch(cifar.info, cifar.downloads, tmp_path)
    assert host.asked == [None, "bytes=1000-"]


def test_the_next_attempt_goes_on_where_the_last_one_ended(tmp_path: Path, host: Host, cifar: Case) -> None:
    part = tmp_path / "cifar10" / f".{cifar.info.archive}.part"
    part.parent.mkdir()
    part.write_bytes(host.files[cifar.info.archive][:700])
    fetch(cifar.info, cifar.downloads, tmp_path)
    assert host.asked == ["bytes=700-"]
    assert names(part.parent) == sorted(cifar.files)


def test_a_part_that_its_owner_finishes_meanwhile_is_not_written_to(
    tmp_path: Path, host: Host, cifar: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process renames its finished part after this one has opened it, and before this one has the lock."""
    lock, seen = fcntl.flock, []
    part = tmp_path / "cifar10" / f".{cifar.info.archive}.part"

    def late(file: Any, how: int) -> None:
        if not seen:
            seen.append(part)
            part.write_bytes(b"what the other process has brought")
            part.rename(tmp_path / "finished")
        lock(file, how)

    monkeypatch.setattr(fcntl, "flock", late)
    fetch(cifar.info, cifar.downloads, tmp_path, say=lambda _: None)
    assert (tmp_path / "finished").read_bytes() == b"what the other process has brought"
    assert names(part.parent) == sorted(cifar.files)


@pytest.mark.parametrize("damage", [lambda b: b[:-1] + b"?", lambda b: b + b"more", lambda b: b"short"])
def test_another_file_leaves_nothing(tmp_path: Path, host: Host, cifar: Case, damage: Any) -> None:
    content = damage(host.files[cifar.info.archive])
    host.files[cifar.info.archive] = content
    short = len(content) < cifar.downloads[0].bytes
    with pytest.raises(FetchError, match="broke off" if short else "is not the published cifar-10-binary"):
        fetch(cifar.info, cifar.downloads, tmp_path)
    left = [f".{cifar.info.archive}.part"] if short else []  # which another attempt begins with
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == left


def test_without_a_network_it_says_what_to_do(tmp_path: Path, host: Host, cifar: Case) -> None:
    host.files.clear()
    with pytest.raises(FetchError, match=r"Not Found.*get it from .*fetch cifar10 --from FOLDER"):
        fetch(cifar.info, cifar.downloads, tmp_path)
    [download] = cifar.downloads
    nowhere = dataclasses.replace(download, addresses=("http://127.0.0.1:1/x",))
    with pytest.raises(FetchError, match=r"refused.*get it from http://127\.0\.0\.1:1/x"):
        fetch(cifar.info, [nowhere], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_from_a_folder_nothing_is_downloaded(tmp_path: Path, host: Host, cifar: Case, fashion: Case) -> None:
    packed, loose, empty = tmp_path / "packed", tmp_path / "loose", tmp_path / "empty"
    for folder in (packed, loose / "cifar-10-batches-bin", empty):
        folder.mkdir(parents=True)
    (packed / cifar.info.archive).write_bytes(host.files[cifar.info.archive])
    for name, content in cifar.files.items():
        (loose / "cifar-10-batches-bin" / name).write_bytes(content)
    for name, content in fashion.files.items():
        (loose / name).write_bytes(content)
    for case, folder, to in ((cifar, packed, "a"), (cifar, loose, "b"), (fashion, loose, "c")):
        found = fetch(case.info, case.downloads, tmp_path / to, folder)
        assert names(found) == sorted(case.files)
        assert {name: (found / name).read_bytes() for name in case.files} == case.files
    with pytest.raises(FetchError, match=r"has neither cifar-10-binary\.tar\.gz nor data_batch_1\.bin"):
        fetch(cifar.info, cifar.downloads, tmp_path / "d", empty)
    (packed / cifar.info.archive).write_bytes(b"another")
    with pytest.raises(FetchError, match=r"packed/cifar-10-binary\.tar\.gz cannot be read .*Nothing was kept"):
        fetch(cifar.info, cifar.downloads, tmp_path / "d", packed)
    assert not (tmp_path / "d" / "cifar10").exists()
    assert host.asked == []


def python_files(files: dict[str, bytes]) -> dict[str, bytes]:
    """CIFAR-10's binary files as the Python version has them."""
    found = {}
    for name, data in files.items():
        records = np.frombuffer(data, np.uint8).reshape(-1, 3073)
        images = records[:, 1:].reshape(-1, 3, 32, 32)
        found[name.removesuffix(".bin")] = python_cifar.batch(images, labels=records[:, 0].tolist())
    return found


def placed(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def unnamed_gzip(data: bytes) -> bytes:
    """As Debian packs it: without a name, at another level."""
    return gzip.compress(data, 6, mtime=1591347949)


def keras_arrays(files: dict[str, bytes]) -> bytes:
    sink = io.BytesIO()
    keys = ("x_train", "y_train", "x_test", "y_test")
    values = [np.frombuffer(data[16:] if "images" in name else data[8:], np.uint8) for name, data in files.items()]
    shaped = [each.reshape(-1, 28, 28) if key[0] == "x" else each for key, each in zip(keys, values, strict=True)]
    arrays: dict[str, Any] = dict(zip(keys, shaped, strict=True))
    np.savez(sink, **arrays)
    return sink.getvalue()


@pytest.mark.parametrize(
    "packing",
    [
        lambda files: {f"fashion-mnist/{name}.gz": unnamed_gzip(data) for name, data in files.items()},
        lambda files: {f"{name}.gz": gzip.compress(data, 1) for name, data in files.items()},
        lambda files: {name.replace("-idx", ".idx"): data for name, data in files.items()},
        lambda files: {f"FashionMNIST/raw/{name}": data for name, data in files.items()},
        lambda files: {f"fashion_mnist/{name}": data for name, data in files.items()},
        # Fashion-MNIST and MNIST have files of the same names: the content tells.
        lambda files: (
            {name: data[:-1] + b"?" for name, data in files.items()}
            | {f"FashionMNIST/raw/{name}.gz": gzip.compress(data) for name, data in files.items()}
        ),
    ],
    ids=["Debian", "packed", "dotted", "torchvision", "ours", "beside another"],
)
def test_copies_of_idx_files_in_any_packing(tmp_path: Path, host: Host, fashion: Case, packing: Any) -> None:
    folder, said = placed(tmp_path / "from", packing(fashion.files)), list[str]()
    for to, how in (("a", {"folder": folder}), ("b", {"elsewhere": [tmp_path / "nothing", folder]})):
        found = fetch(fashion.info, fashion.downloads, tmp_path / to, say=said.append, **how)
        assert {path.name: path.read_bytes() for path in found.iterdir()} == fashion.files
        assert f"taken from {folder}" in said[-1]
    assert host.asked == []


def test_keras_has_mnist_as_arrays(tmp_path: Path, fashion: Case) -> None:
    info = dataclasses.replace(fashion.info, name="mnist")
    folder = placed(tmp_path / "keras", {"mnist.npz": keras_arrays(fashion.files)})
    found = fetch(info, fashion.downloads, tmp_path / "to", elsewhere=[folder])
    assert {path.name: path.read_bytes() for path in found.iterdir()} == fashion.files


@pytest.mark.parametrize(
    "packing",
    [
        lambda files: {f"cifar-10-batches-py/{name}": data for name, data in files.items()},
        lambda files: files,
        lambda files: {"cifar-10-python.tar.gz": archive_of(files)},
        lambda files: {"cifar-10-batches-py.tar.gz": archive_of(files)},
        lambda files: {f"cifar-10-batches-py-target/cifar-10-batches-py/{name}": data for name, data in files.items()},
    ],
    ids=["torchvision", "loose", "published", "Keras", "Keras 3"],
)
def test_cifars_python_files_become_the_binary_ones(tmp_path: Path, cifar: Case, packing: Any) -> None:
    folder = placed(tmp_path / "from", packing(python_files(cifar.files)))
    found = fetch(cifar.info, cifar.downloads, tmp_path / "to", folder)
    assert {path.name: path.read_bytes() for path in found.iterdir()} == cifar.files


def test_the_python_version_put_into_the_data_folder_is_found_there(tmp_path: Path, host: Host, cifar: Case) -> None:
    archive = archive_of(python_files(cifar.files))
    target = placed(tmp_path / "cifar10", {"cifar-10-python.tar.gz": archive})
    fetch(cifar.info, cifar.downloads, tmp_path)
    assert names(target) == sorted([*cifar.files, "cifar-10-python.tar.gz"])
    assert host.asked == []


def test_cifar_100_has_its_coarse_labels_first() -> None:
    info = small("cifar100", 4)
    for data in cifar_files(info, 4).values():
        records = np.frombuffer(data, np.uint8).reshape(-1, 3074)
        labels = {"coarse_labels": records[:, 0].tolist(), "fine_labels": records[:, 1].tolist()}
        assert to_binary(python_cifar.batch(records[:, 2:].reshape(-1, 3, 32, 32), **labels)) == data


@pytest.mark.parametrize("wrong", ["t10k-labels-idx1-ubyte", "train-images-idx3-ubyte"])
def test_a_refused_copy_leaves_nothing_and_the_next_one_is_read(tmp_path: Path, fashion: Case, wrong: str) -> None:
    bad = placed(tmp_path / "bad", {**fashion.files, wrong: fashion.files[wrong][:-1] + b"?"})
    good = placed(tmp_path / "good", fashion.files)
    with pytest.raises(FetchError, match=f"bad is not the published fashion_mnist: its {wrong} has sha256"):
        fetch(fashion.info, fashion.downloads, tmp_path / "to", bad)
    assert list((tmp_path / "to").iterdir()) == []
    found = fetch(fashion.info, fashion.downloads, tmp_path / "to", good)
    assert {path.name: path.read_bytes() for path in found.iterdir()} == fashion.files


def test_a_copy_elsewhere_that_is_another_is_named_before_the_download(tmp_path: Path, fashion: Case) -> None:
    bad = placed(tmp_path / "bad", {name: data[:-1] + b"?" for name, data in fashion.files.items()})
    said: list[str] = []
    fetch(fashion.info, fashion.downloads, tmp_path / "to", say=said.append, elsewhere=[bad])
    assert [line for line in said if line.startswith(f"Not taken: {bad} is not the published")]
    assert "taken from" not in said[-1]


DEBIAN = Path("/usr/share/datasets/fashion-mnist")


@pytest.mark.skipif(not DEBIAN.is_dir(), reason="apt-get install dataset-fashion-mnist")
def test_debians_fashion_mnist_is_the_published_one(tmp_path: Path) -> None:
    info = DATASETS["fashion_mnist"]
    assert len(list(fetch(info, DOWNLOADS[info.name], tmp_path, DEBIAN).iterdir())) == 4


def test_imagenet_is_linked_where_it_is_whole(tmp_path: Path) -> None:
    info = dataclasses.replace(DATASETS["imagenet"], classes=("n1 a", "n2 b"), train_size=3, validation_size=2)
    with pytest.raises(FetchError, match="without an account"):
        fetch(info, (), tmp_path / "data")
    mine = tmp_path / "mine"
    for name in ("train/n1/x.JPEG", "train/n1/y.JPEG", "train/n2/x.JPEG", "val/n1/x.JPEG"):
        (mine / name).parent.mkdir(parents=True, exist_ok=True)
        (mine / name).touch()
    with pytest.raises(BadData, match=r"val has no images of n2"):
        fetch(info, (), tmp_path / "data", mine)
    assert not (tmp_path / "data" / "imagenet").is_symlink()
    (mine / "val/n2").mkdir()
    (mine / "val/n2/x.JPEG").touch()
    assert fetch(info, (), tmp_path / "data", mine).resolve() == mine
    (mine / "train/n2/z.JPEG").touch()
    with pytest.raises(BadData, match=r"train has 4 images where imagenet has 3"):
        fetch(info, (), tmp_path / "data", mine)


def test_the_command_tells_what_cannot_be_done(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert data_main(["fetch", "digits", "--data", str(tmp_path)]) == FAILED
    assert "need not be fetched" in capsys.readouterr().err
    assert data_main(["fetch", "cifar100", "--data", str(tmp_path), "--from", str(tmp_path)]) == FAILED
    assert "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz" in capsys.readouterr().err
    assert data_main(["fetch", "cifar", "--data", str(tmp_path)]) == UNKNOWN
    assert "There is no published dataset 'cifar'; there are cifar10" in (told := capsys.readouterr().err)
    assert "Did you mean cifar10" in told


def test_downloads_belong_to_known_files() -> None:
    for name, downloads in DOWNLOADS.items():
        info = DATASETS[name]
        expected = [info.archive] if info.archive else [f"{file}.gz" for file in info.files]
        assert [download.name for download in downloads] == expected
        assert all(len(download.sha256) == 64 for download in downloads)
        assert all(address.endswith(download.name) for download in downloads for address in download.addresses)
