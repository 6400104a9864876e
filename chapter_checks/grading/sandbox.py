"""The command that runs `inside.py` where a student's code can do no harm.

bubblewrap takes away all but the system, Python and a copy of the package: what is not named here
is not there. Docker and Podman do the same with an image. README.md has the table of what protects.
"""

import os
import shutil
import site
import subprocess
import sys
from pathlib import Path
from typing import Callable, NamedTuple

PACKAGES = ("chapter_utils", "chapter_checks")
ROOT = Path(__file__).resolve().parents[2]
# What the judge limits, all processes of a submission together.
MEMORY = 4 * 2**30
PROCESSES = 128
DISK = 256 * 2**20
# Of the system; where Python lives is added.
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/nix", "/etc/alternatives")
SYSTEM += ("/etc/ld.so.cache", "/etc/fonts", "/etc/localtime")
PARTS_OF_PYTHON = ("bin", "lib", "lib64", "share", "etc", "pyvenv.cfg")
SCRIPT = "chapter_checks/grading/inside.py"
LIMITS = [str(MEMORY), str(DISK)]  # that it sets itself
MISSING = (
    "There is no bubblewrap here (Linux: apt-get install bubblewrap), so nothing would keep "
    "students' code from your files, the grades, other submissions, the network and the solutions. "
    "Grade in a container (--image IMAGE), or say --unprotected if you trust every one of them."
)


class Unavailable(Exception):
    """There is no sandbox on this machine, or it does not start."""


class Place(NamedTuple):
    """How a submission is run: the command, its environment and its working folder."""

    command: list[str]
    environment: dict[str, str]
    folder: Path


# From an empty folder of its own to the place where a submission runs.
Sandbox = Callable[[Path], Place]


def make_library(folder: Path) -> Path:
    """A copy of the package, for a submission of its own: what students have, no code of checks."""
    library = folder / "library"
    ignored = shutil.ignore_patterns("__pycache__", ".*", "*.md", "exercises")
    for name in PACKAGES:
        shutil.copytree(ROOT / name, library / name, ignore=ignored)
    (library / "chapter_checks" / "exercises").mkdir()
    return library


def environment_of(library: str, home: str) -> dict[str, str]:
    """What the student's code finds in its environment: nothing of yours but where programs are."""
    kept = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "SYSTEMROOT")
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    return environment | {
        "PYTHONPATH": library,
        "PYTHONSAFEPATH": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONIOENCODING": "utf-8",
        "PYTHONUSERBASE": site.getuserbase(),
        "OMP_NUM_THREADS": "1",
        "HOME": home,
        "USER": "student",
        "TMPDIR": home,
        "TEMP": home,
        "TMP": home,
    }


def unprotected(folder: Path) -> Place:
    """No protection: a process with your rights."""
    library = make_library(folder)
    home = folder / "work"
    home.mkdir()
    environment = environment_of(str(library), str(home))
    return Place([sys.executable, str(library / SCRIPT), *LIMITS], environment, home)


def shown_folders() -> list[Path]:
    """The folders and files that a kernel needs to be able to read."""
    found = [Path(path) for path in SYSTEM]
    for prefix in {sys.prefix, sys.base_prefix, sys.exec_prefix}:
        found += [Path(prefix) / part for part in PARTS_OF_PYTHON]
    if site.ENABLE_USER_SITE:
        found.append(Path(site.getusersitepackages()))
    libraries = os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep)
    found += [Path(path) for path in libraries if os.path.isabs(path)]
    return [path for path in found if path.exists()]


def bubblewrap(hidden: list[Path]) -> Sandbox:
    """The sandbox of bubblewrap, in which the hidden folders are empty even below a shown one."""
    program = shutil.which("bwrap")
    if program is None:
        raise Unavailable(MISSING)
    told = subprocess.run([program, "--help"], capture_output=True, text=True).stdout
    command = [program, "--unshare-all", "--unshare-user", "--die-with-parent", "--new-session"]
    command += ["--uid", "1000", "--gid", "1000", "--cap-drop", "ALL", "--hostname", "sandbox"]
    if "--disable-userns" in told:  # from version 0.8 on
        command.append("--disable-userns")
    # The only place to write. Python itself may lie below it.
    mounts = {Path("/tmp"): ["--size", str(DISK), "--tmpfs", "/tmp"]}
    empty = []
    for path in shown_folders():
        source = path.resolve()
        mounts[path] = ["--ro-bind", str(source), str(path)]
        if path.is_symlink() and path.parent == Path("/"):  # /lib is a link to usr/lib
            mounts[path] = ["--symlink", os.readlink(path), str(path)]
        empty += [path / one.relative_to(source) for one in hidden if one.is_relative_to(source)]
    mounts |= {path: ["--tmpfs", str(path)] for path in empty if path not in mounts}
    for path in sorted(mounts, key=lambda path: len(path.parts)):  # a folder before what is in it
        command += mounts[path]
    for path in empty:
        command += ["--remount-ro", str(path)]
    command += ["--proc", "/proc", "--dev", "/dev", "--size", str(DISK), "--tmpfs", "/dev/shm"]
    command += ["--remount-ro", "/dev"]

    def place(folder: Path) -> Place:
        library = make_library(folder)
        inner = [
            "--ro-bind",
            str(library),
            "/library",
            "--dir",
            "/tmp/home",
            "--chdir",
            "/tmp/home",
        ]
        inner += ["--remount-ro", "/", "--", sys.executable]
        inner += [f"/library/{SCRIPT}", *LIMITS]
        return Place([*command, *inner], environment_of("/library", "/tmp/home"), folder)

    return place


def container(image: str, seconds: int) -> Sandbox:
    """A container of that image by Podman or Docker, which ends after so many seconds."""
    program = shutil.which("podman") or shutil.which("docker")
    if program is None:
        raise Unavailable("--image needs Podman or Docker, and there is neither.")
    command = [program, "run", "--rm", "--interactive", "--network=none", "--read-only"]
    command += ["--cap-drop=ALL", "--security-opt=no-new-privileges", "--user=1000:1000"]
    command += [f"--memory={MEMORY}", f"--memory-swap={MEMORY}", f"--pids-limit={PROCESSES}"]
    command += [f"--shm-size={DISK}", f"--tmpfs=/tmp:size={DISK},mode=1777", "--workdir=/tmp"]

    def place(folder: Path) -> Place:
        library = make_library(folder)
        inner = [f"--volume={library}:/library:ro"]
        for name, value in environment_of("/library", "/tmp").items():
            if name not in ("PATH", "LD_LIBRARY_PATH", "PYTHONUSERBASE"):
                inner.append(f"--env={name}={value}")
        inner += [image, "timeout", "--kill-after=1", str(seconds), "python3"]
        inner += [f"/library/{SCRIPT}", *LIMITS]
        return Place([*command, *inner], dict(os.environ), folder)

    return place
