"""Who handed in what: files are looked at without following links, and read once.

Names come from strangers. `shown` is the only way in which one, or any other text of theirs, gets
to a screen, a table or a page.
"""

import hashlib
import io
import os
import re
import stat
import time
import unicodedata
import zipfile
from pathlib import Path
from typing import Iterator, NamedTuple

LARGEST = 20 * 2**20  # bytes of a file, and of all that is taken from a zip file
NOTEBOOK = re.compile(r"\.ipynb(\.(txt|json))?$", re.IGNORECASE)
# The same notebook once more: of Jupyter, of browsers.
COPY = re.compile(r"([-_ ]copy ?\d*| ?\(\d+\))+$", re.IGNORECASE)
# NAME_USER_UPLOAD_FILE, NAME_LATE_USER_UPLOAD_FILE; a folder "NAME_NUMBER_assignsubmission_file_".
CANVAS = re.compile(r"(?P<name>.+?)(_late)?_(?P<user>\d+)_\d+_(?P<file>.+)", re.IGNORECASE)
MOODLE = re.compile(r"_assignsubmission_\w*$")
INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}  # categories of Unicode


class Submission(NamedTuple):
    """A notebook that was handed in, or why there is none."""

    student: str
    name: str  # of the file, below the student's folder
    date: float = 0.0
    data: bytes | None = None
    note: str = ""


class NotTaken(Exception):
    """Why a file is not read."""


def shown(text: str) -> str:
    """The text with control characters, and all others that nobody sees, written as \\x1b."""
    return "".join(
        char.encode("unicode_escape").decode() if unicodedata.category(char) in INVISIBLE else char
        for char in text
    )


def page_name(student: str, others: list[str]) -> str:
    """A file name for the student's page, another one than that of all others."""
    name = re.sub(r'[<>:"/\\|?*]', "_", student).strip(". ")
    name = name.encode()[:120].decode(errors="ignore")
    same = [other for other in others if other.casefold() == student.casefold()]
    if name != student or len(same) > 1:
        name += "-" + hashlib.sha256(student.encode()).hexdigest()[:6]
    return f"{name}.md"


# ---- names ----


def student_of_folder(name: str) -> str:
    return shown(unicodedata.normalize("NFC", MOODLE.sub("", name)))


def student_of_file(name: str, blanks: list[str], folder: str) -> str:
    """The name of a file without that of the notebook, of copies, and of the platform."""
    name = unicodedata.normalize("NFC", NOTEBOOK.sub("", name))
    name = re.sub(r"\.zip$", "", name, flags=re.IGNORECASE)
    if match := CANVAS.fullmatch(name):
        name = f"{match['name']}_{match['user']}"
    name = COPY.sub("", name)
    for blank in blanks:
        name = re.sub(rf"{re.escape(blank)}(-\d+)?", "", name, flags=re.IGNORECASE)
    return shown(COPY.sub("", name).strip("_- ") or folder)


def natural(name: str) -> list:
    """To sort x before x-1, and that before x-10."""
    parts = re.split(r"(\d+)", NOTEBOOK.sub("", name))
    return [(int(part), "") if part.isdecimal() else (0, part) for part in parts]


# ---- files ----


def read(path: str) -> tuple[bytes, float]:
    """What a regular file holds, and its date."""
    kinds = {
        stat.S_ISLNK: "a link",
        stat.S_ISDIR: "a folder",
        stat.S_ISFIFO: "a pipe",
        stat.S_ISSOCK: "a socket",
        stat.S_ISCHR: "a device",
        stat.S_ISBLK: "a device",
    }
    mode = os.lstat(path).st_mode
    for is_one, kind in kinds.items():
        if is_one(mode):
            raise NotTaken(f"it is {kind}, not a file")
    # It may be another one by now: nothing waits for a pipe, and a link is not followed.
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    with open(os.open(path, flags | getattr(os, "O_BINARY", 0)), "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise NotTaken("it is not a file")
        data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise NotTaken(f"it is larger than {LARGEST // 2**20} MB")
    return data, found.st_mtime


def unpacked(data: bytes, date: float) -> Iterator[tuple[str, float, bytes]]:
    """The notebooks in a zip file, which is not written to the disk: name, date, bytes."""
    left = LARGEST
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for info in archive.infolist():
            parts = info.filename.split("/")
            hidden = any(part.startswith((".", "__MACOSX")) for part in parts)
            if hidden or info.is_dir() or not NOTEBOOK.search(info.filename):
                continue
            if stat.S_ISLNK(info.external_attr >> 16):
                raise NotTaken(f"{shown(info.filename)} in it is a link")
            with archive.open(info) as file:
                member = file.read(left + 1)
            left -= len(member)
            if left < 0:
                raise NotTaken(f"its notebooks are larger than {LARGEST // 2**20} MB")
            try:
                date = time.mktime((*info.date_time, 0, 0, -1))
            except (ValueError, OverflowError):  # there is no such day: that of the zip file
                pass
            yield info.filename, date, member


def notebooks_in(path: str, name: str, student: str) -> Iterator[Submission]:
    """The notebooks that a file is or holds; a note if it should be one and is not."""
    zipped = name.casefold().endswith(".zip")
    if not zipped and not NOTEBOOK.search(name):
        return
    found = 0
    try:
        data, date = read(path)
        if not zipped:
            yield Submission(student, shown(name), date, data)
            return
        for inner, inner_date, member in unpacked(data, date):
            found += 1
            yield Submission(student, shown(f"{name}/{inner}"), inner_date, member)
        if not found:
            raise NotTaken("there is no notebook in it")
    except NotTaken as error:
        yield Submission(student, shown(name), note=f"{shown(name)} was not read: {error}")
    except Exception as error:  # whatever a file can do to a program that reads it
        why = f"{type(error).__name__}: {error}"[:200]
        yield Submission(student, shown(name), note=shown(f"{name} could not be read: {why}"))


def below(folder: str, student: str, ignored: Path) -> Iterator[Submission]:
    """All that stands in a student's folder. Hidden folders and links are not entered."""
    others = []
    closed = []
    found = False
    for place, folders, names in os.walk(folder, onerror=closed.append):
        folders[:] = [
            name
            for name in sorted(folders)
            if not name.startswith(".") and Path(place, name) != ignored
        ]
        for name in sorted([*names, *folders]):
            path = os.path.join(place, name)
            relative = os.path.relpath(path, folder)
            if name.startswith("."):
                continue
            for submission in notebooks_in(path, relative, student):
                found = True
                yield submission
            if name in names:
                others.append(relative)
    for error in closed:
        yield Submission(student, "", note=shown(f"a folder could not be opened: {error}"))
    if not found and not closed:
        note = "nothing was handed in"
        if others:
            note = f"no notebook was handed in, but {', '.join(others[:3])}"
        yield Submission(student, "", note=shown(note))


def submissions(folder: Path, blanks: list[str], ignored: Path = Path("-")) -> list[Submission]:
    """All that was handed in, at least one entry a student.

    The student is the first folder below the given one, or else the name of the file.
    """
    found = []
    with os.scandir(folder) as entries:
        entries = sorted(entries, key=lambda entry: entry.name)
    for entry in entries:
        if entry.name.startswith(".") or Path(entry.path) == ignored:
            continue
        if entry.is_dir(follow_symlinks=False) and not NOTEBOOK.search(entry.name):
            found += below(entry.path, student_of_folder(entry.name), ignored)
            continue
        student = student_of_file(entry.name, blanks, folder.resolve().name)
        here = list(notebooks_in(entry.path, entry.name, student))
        if not here:
            student = student_of_file(os.path.splitext(entry.name)[0], blanks, folder.name)
            note = f"{entry.name} is no notebook (.ipynb) and no folder with one"
            here = [Submission(student, shown(entry.name), note=shown(note))]
        found += here
    return found
