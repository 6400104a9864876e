"""How the benchmarks write their results: a file is the whole old one or the whole new one."""

import os
from pathlib import Path


def replace_file(path: str | Path, content: bytes) -> None:
    """Write `content` to `path`; killed at any moment, there is the old file or the new one.

    Raises OSError naming the file if the disk is full or the folder cannot be written to; the old
    file is then untouched.
    """
    path = Path(path)
    # In the same folder: renaming is atomic only within one file system.
    scratch = path.with_name(f".{path.name}.part")
    try:
        with open(scratch, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(scratch, path)
    except OSError as error:
        _remove(scratch)
        raise OSError(
            f"{path} could not be written ({error}); what was there before is unchanged"
        ) from error


def _remove(scratch: Path) -> None:
    try:
        scratch.unlink(missing_ok=True)
    except OSError:  # the folder is at fault, which the caller reports
        pass
