"""Where archived files are: a folder, or a bucket of a store that speaks S3.

A file is named by its path or by ``s3://bucket/key``. What is out of date is set aside: it gets ``.old`` behind its
name, so that other programs do not take it for a part of the table, and it is found all the same. The store's address,
region and keys come from the environment, under the names that every S3 program knows: AWS_ENDPOINT_URL, AWS_REGION,
AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY.
"""

from __future__ import annotations

import contextlib
import functools
import os
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from chandlery.errors import ArchiveUnavailable, ConfigurationError, StorageError

_S3 = "s3://"
ASIDE = ".old"
_CONNECT_TIMEOUT_S, _REQUEST_TIMEOUT_S, _ATTEMPTS = 5, 30, 3


def place_of(text: str) -> str:
    """An absolute path, or ``s3://bucket/prefix``, without a slash at the end. Raises ConfigurationError."""
    if "://" not in text:
        if not text.strip():
            raise ConfigurationError("the archive has no name.", hint="Give a folder, or s3://bucket/prefix.")
        return str(Path(text).expanduser().resolve())
    parts = urlsplit(text)
    if f"{parts.scheme}://" != _S3 or not parts.netloc or parts.query or parts.fragment:
        raise ConfigurationError(
            "the archive is neither a folder nor like s3://bucket/prefix.",
            hint="Give a path, or only bucket and prefix.",
        )
    if "@" in parts.netloc:
        raise ConfigurationError(
            "the archive's address holds a login.", hint="Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY instead."
        )
    return text.rstrip("/")


def put(file: str, data: bytes) -> None:
    """Write a file whole or not at all: in a folder aside first, in S3 a file appears whole. Raises StorageError."""
    try:
        if file.startswith(_S3):
            with _bucket_store().open_output_stream(file.removeprefix(_S3)) as stream:
                stream.write(data)
        else:
            _put_aside(Path(file), data)
    except OSError as error:
        raise StorageError(f"{file} cannot be written: {_reason(error)}", hint=_next_step(file)) from error


def names_in(folder: str) -> set[str]:
    """What the files in a folder are called there; none if there is no such folder. Raises StorageError."""
    from pyarrow import fs

    try:
        store, path = _store_of(folder)
        there = store.get_file_info(fs.FileSelector(path, allow_not_found=True))
    except OSError as error:
        raise StorageError(f"{folder} cannot be read: {_reason(error)}", hint=_next_step(folder)) from error
    return {one.base_name for one in there}


def rename(file: str, new: str) -> None:
    """Give a file another name in the same place; in S3 that is a copy. Raises StorageError."""
    try:
        store, path = _store_of(file)
        store.move(path, _store_of(new)[1])
    except OSError as error:
        raise StorageError(f"{file} cannot be renamed: {_reason(error)}", hint=_next_step(file)) from error


def fetch(file: str, at_most: int) -> bytes:
    """The bytes of a file, set aside or not, of which it has no more than ``at_most``. Raises ArchiveUnavailable."""
    # it may be set aside or shown again at any time, in S3 even between a look at it and the reading
    for name in (file, file + ASIDE, file):
        try:
            with _opened(name) as stream:
                data: bytes = stream.read(at_most + 1)
                return data
        except OSError as error:
            if not _is_absent(error):
                raise ArchiveUnavailable(f"{file} cannot be read: {_reason(error)}", hint=_next_step(file)) from error
    raise ArchiveUnavailable(f"{file} is not there.", hint=_next_step(file))


def _is_absent(error: OSError) -> bool:
    return isinstance(error, FileNotFoundError) or any(
        code in str(error) for code in ("RESOURCE_NOT_FOUND", "NO_SUCH_KEY")
    )


def _opened(file: str) -> Any:
    if file.startswith(_S3):
        return _bucket_store().open_input_file(file.removeprefix(_S3))
    return Path(file).open("rb")


def _put_aside(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{uuid.uuid4().hex}.new")
    try:
        with new.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        new.replace(path)
        _flush_folder(path.parent)
    finally:
        with contextlib.suppress(OSError):
            new.unlink(missing_ok=True)


def _flush_folder(folder: Path) -> None:
    """Only then does the name outlive a crash, and the database may rely on it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _store_of(name: str) -> tuple[Any, str]:
    """The store in which a file or folder is, and what it is called there."""
    from pyarrow import fs

    return (_bucket_store(), name.removeprefix(_S3)) if name.startswith(_S3) else (fs.LocalFileSystem(), name)


def _bucket_store() -> Any:
    variables = os.environ
    address = variables.get("AWS_ENDPOINT_URL_S3") or variables.get("AWS_ENDPOINT_URL") or ""
    return _s3(address, variables.get("AWS_REGION") or variables.get("AWS_DEFAULT_REGION") or "us-east-1")


@functools.cache
def _s3(address: str, region: str) -> Any:
    from pyarrow import fs

    parts = urlsplit(address)
    where = {"endpoint_override": parts.netloc, "scheme": parts.scheme or "https"} if parts.netloc else {}
    return fs.S3FileSystem(
        region=region,
        connect_timeout=_CONNECT_TIMEOUT_S,
        request_timeout=_REQUEST_TIMEOUT_S,
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=_ATTEMPTS),
        **where,
    )


def _reason(error: OSError) -> str:
    return f"{error.strerror or error}".rstrip(".") + "."


def _next_step(file: str) -> str:
    if file.startswith(_S3):
        return "Look at AWS_ENDPOINT_URL, AWS_REGION, the keys, and whether the store can be reached."
    return (
        "Look whether the disk is mounted, and at the permissions. If files were moved: chandlery archive NEW-FOLDER."
    )
