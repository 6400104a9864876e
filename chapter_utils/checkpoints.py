"""Files that are complete or absent: what a killed training leaves behind, and how it is read without trusting it.

Used by `training.fit(checkpoint=...)`, as in benchmarks/five_regimes.py.
"""

import io
import os
import zipfile
from pathlib import Path
from typing import Any

import torch

KIND = "a training of chapter_utils, version 1"
ABSENT = "absent"


def replace_file(path: str | Path, content: bytes) -> None:
    """Write `content` to `path` so that at any moment there is either the whole old file or the whole new one.

    Raises OSError naming the file if the disk is full or the folder cannot be written to; the old file is then untouched.
    """
    path = Path(path)
    scratch = path.with_name(
        f".{path.name}.part"
    )  # in the same folder: renaming is atomic only within one file system
    try:
        with open(scratch, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(scratch, path)
    except OSError as error:
        try:
            scratch.unlink(missing_ok=True)
        except OSError:
            pass
        raise OSError(
            f"{path} could not be written ({error}); what was there before is unchanged"
        ) from error


def save(path: str | Path, settings: dict[str, Any], state: dict[str, Any]) -> None:
    """Store numbers, tensors, lists and dicts of them; `settings` says what they belong to. Raises as `replace_file`."""
    buffer = io.BytesIO()  # a full disk then fails in one place, with one kind of error
    torch.save({"kind": KIND, "settings": settings, "state": state}, buffer)
    replace_file(path, buffer.getvalue())


def load(path: str | Path, settings: dict[str, Any]) -> dict[str, Any]:
    """The `state` stored under the same `settings`. Only tensors and plain values are read; no code in the file is ever run.

    Raises ValueError with the name of the file if it is damaged, is no checkpoint, or was stored under other settings.
    """
    content = io.BytesIO(Path(path).read_bytes())
    try:
        with zipfile.ZipFile(content) as archive:
            if part := archive.testzip():  # compares checksums, which torch.load does not
                raise zipfile.BadZipFile(part)
        content.seek(0)
        found = torch.load(content, map_location="cpu", weights_only=True)
    except Exception as error:  # damage can show in any way
        raise ValueError(f"{path} is damaged or no checkpoint: delete it to start anew") from error
    if not isinstance(found, dict) or found.get("kind") != KIND:
        raise ValueError(f"{path} is no checkpoint of {KIND}: delete it or give another name")
    refuse_other_settings(path, found["settings"], settings)
    return found["state"]


def refuse_other_settings(path: str | Path, stored: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Raises ValueError naming each setting that differs; a file can only be continued with the settings it was begun with."""
    names = [
        name
        for name in {**stored, **wanted}
        if stored.get(name, ABSENT) != wanted.get(name, ABSENT)
    ]
    if names:
        told = [
            f"{name} is {stored.get(name, ABSENT)} there and {wanted.get(name, ABSENT)} here"
            for name in names[:3]
        ]
        more = f"; and {len(names) - 3} more" if len(names) > 3 else ""
        raise ValueError(
            f"{path} belongs to other settings: {'; '.join(told)}{more}. Delete it or give another name"
        )
