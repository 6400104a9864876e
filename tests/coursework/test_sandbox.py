"""What a submission can reach and use up; with bubblewrap, where it works."""

import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from chapter_checks import engine
from chapter_checks.grading import judge, sandbox

pytestmark = pytest.mark.slow


def below_tmp(path: str) -> bool:
    return Path(path).is_relative_to("/tmp")


def works() -> bool:
    """Whether bubblewrap is there and may make namespaces and mount what the sandbox has."""
    command = ["bwrap", "--unshare-all", "--unshare-user", "--ro-bind", "/", "/", "--proc", "/proc"]
    command += ["--dev", "/dev", "--tmpfs", "/tmp", "true"]
    return (
        bool(shutil.which("bwrap")) and subprocess.run(command, capture_output=True).returncode == 0
    )


needs_bubblewrap = pytest.mark.skipif(not works(), reason="bubblewrap is missing or may not start")


class Probe:
    """Runs Python in a sandbox and brings back what `result` is."""

    def __init__(self, place):
        self.inside = judge.Inside(place)
        self.inside.send({"begin": True}, judge.START)

    def __call__(self, code):
        self.inside.run(f"result = None\n{code}", 30)
        of = engine.Exercise("2.1", "Test", 1, 1, print)
        return engine.Attempt(of, self.inside, 0, 30).ask("result")


@pytest.fixture
def secrets(tmp_path_factory, monkeypatch):
    """Files that a student must not see, and a variable."""
    monkeypatch.setenv("SECRET", "of the instructor")
    folder = tmp_path_factory.mktemp("class")
    (folder / "other.ipynb").write_text("{}")
    return folder


@pytest.fixture
def probe(tmp_path, secrets):
    made = Probe(sandbox.bubblewrap([sandbox.ROOT, secrets])(tmp_path))
    yield made
    made.inside.close()


@needs_bubblewrap
def test_what_is_not_there_cannot_be_read(probe, secrets):
    """The course, solutions, other submissions, files of the instructor, users, processes."""
    paths = [str(secrets), str(sandbox.ROOT / "notebooks"), str(sandbox.ROOT / "chapter_checks")]
    paths += ["/root/.ssh", "/home", "/etc/passwd", "/etc/shadow", "/var", "/run", "/sys", "/mnt"]
    assert probe(f"import os\nresult = [p for p in {paths!r} if os.path.exists(p)]") == []
    of_python = {
        Path(prefix).parts[2] for prefix in (sys.prefix, sys.base_prefix) if below_tmp(prefix)
    }
    assert set(probe("result = os.listdir('/tmp')")) == {"home"} | of_python
    walk = (
        "result = [f for top in ('/tmp', '/library') for _, _, names in os.walk(top) for f in names"
    )
    found = probe(f"{walk} if f.endswith('.ipynb')]")
    assert found == []
    assert probe("import os\nresult = os.listdir('/library/chapter_checks/exercises')") == []
    assert probe("result = 'SECRET' in os.environ") is False
    assert probe("result = os.getcwd(), os.path.expanduser('~')") == ("/tmp/home", "/tmp/home")
    assert probe("result = len([p for p in os.listdir('/proc') if p.isdecimal()])") < 8
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        code = f"import socket\ntry:\n    socket.create_connection({address!r}, 2)\n"
        said = probe(f"{code}except OSError as error:\n    result = type(error).__name__")
    assert said == "ConnectionRefusedError"


@needs_bubblewrap
def test_what_is_shown_may_lie_below_the_place_to_write(tmp_path, monkeypatch):
    """As Python does whose course was cloned into /tmp: there to be read, and only that."""
    python = tmp_path / "python"
    python.mkdir()
    (python / "library.py").write_text("x = 1")
    shown = [*sandbox.shown_folders(), python]
    monkeypatch.setattr(sandbox, "shown_folders", lambda: shown)
    made = Probe(sandbox.bubblewrap([])(tmp_path))
    try:
        assert made(f"result = open({str(python / 'library.py')!r}).read()") == "x = 1"
        code = f"try:\n    open({str(python / 'new')!r}, 'w')\n"
        assert made(f"{code}except OSError:\n    result = 'refused'") == "refused"
    finally:
        made.inside.close()


@needs_bubblewrap
def test_nothing_can_be_written_but_at_home(probe):
    places = [
        "/",
        "/library",
        "/library/chapter_checks",
        sys.prefix + "/bin",
        "/usr",
        "/dev",
        "/etc",
    ]
    code = f"""
import os, site
result = []
for place in [*{places!r}, *site.getsitepackages()]:
    try:
        open(os.path.join(place, "planted.pth"), "w").close()
        result.append(place)
    except OSError:
        pass
"""
    assert probe(code) == []
    assert probe("open('note.txt', 'w').close()\nresult = os.path.exists('note.txt')") is True


@needs_bubblewrap
def test_rights_and_limits(probe):
    status = probe("result = open('/proc/self/status').read()")
    for line in ("CapEff:\t0000000000000000", "CapPrm:\t0000000000000000", "NoNewPrivs:\t1"):
        assert line in status
    full = f"""
try:
    with open("/tmp/large", "wb") as file:
        for _ in range(2 * {sandbox.DISK} // 2**20):
            file.write(bytes(2**20))
except OSError as error:
    result = type(error).__name__
"""
    assert probe(full) == "OSError"
    large = f"try:\n    result = len(bytearray({2 * sandbox.MEMORY}))\n"
    assert probe(large + "except MemoryError:\n    result = 'no'") == "no"


@needs_bubblewrap
def test_too_many_processes_end_it(probe, monkeypatch):
    monkeypatch.setattr(sandbox, "PROCESSES", 20)
    probe.inside.run(
        "import subprocess\n[subprocess.Popen(['sleep', '99']) for _ in range(40)]", 30
    )
    end = time.monotonic() + 60
    while not probe.inside.ended and time.monotonic() < end:
        time.sleep(0.1)
    assert probe.inside.ended == "more than 20 processes"


@needs_bubblewrap
def test_everything_dies_with_it(probe):
    probe.inside.run(
        "import subprocess\n"
        "subprocess.Popen(['setsid', 'sleep', '998877'])\n"
        "subprocess.Popen('(sleep 998877 &)', shell=True)",
        30,
    )

    def left():
        return [
            p for p in psutil.process_iter(["cmdline"]) if "998877" in (p.info["cmdline"] or [])
        ]

    assert left()
    os.kill(probe.inside.process.pid, 9)  # as when the judge itself is killed
    end = time.monotonic() + 30
    while left() and time.monotonic() < end:
        time.sleep(0.1)
    assert left() == []


@pytest.fixture
def bare(tmp_path):
    made = Probe(sandbox.unprotected(tmp_path))
    yield made
    made.inside.close()


def test_a_kernel_that_ends_is_no_loop(bare):
    bare.inside.run("import os\nos._exit(3)", 30)
    assert bare.inside.ended == "it exited, code 3"
    passed, line = judge.verdict("2.1", bare.inside)
    assert passed is False and line.endswith("Python had ended: it exited, code 3.")


def test_a_killed_kernel_is_no_loop(bare):
    bare.inside.run(
        "def steps_to_double(h, omega):\n    import os\n    os.kill(os.getpid(), 9)", 30
    )
    passed, line = judge.verdict("2.1", bare.inside)
    assert passed is False and "Python ended while `steps_to_double` was running" in line
    assert "signal 9" in line


def test_what_is_no_reply_ends_it(bare):
    """Garbage in the pipe to the judge: too long, no JSON, no reply, nested without end."""
    for text in (
        b"no json\n",
        b"[1]\n",
        b"[" * 10**6 + b"\n",
        b'{"value": ' + b"9" * 10**5 + b"}\n",
    ):
        bare.inside.ended = ""
        bare.inside.lines.put(text)
        assert bare.inside.ask({"name": "x", "seconds": 1.0})["problem"][0] == "ended"
    for value in ({"tensor": "", "dtype": "load", "shape": [10**12]}, {"tensor": 1}, 10**400):
        of = engine.Exercise("2.1", "Test", 1, 1, print)
        transport = type("Fixed", (), {"ask": lambda self, _, value=value: {"value": value}})()
        with pytest.raises(engine.CheckFailed):
            engine.Attempt(of, transport, 0).ask("x")


USUAL = "def steps_to_double(h, omega):\n    import math\n    "
USUAL += "return math.ceil(math.log(2) / (0.5 * math.log1p((h * omega) ** 2)))"


@pytest.mark.parametrize(
    "before",
    [
        "check = passed = 3",
        "import sys\nsys.stdout = sys.stderr = None",
        "import torch\ntorch.set_default_device('meta')",
        "import torch\ntorch.set_default_dtype(torch.float16)\ntorch.set_grad_enabled(False)",
        "import torch\ntorch.set_num_threads(7)\ntorch.inference_mode().__enter__()",
        "globals = locals = print = None",
        "import warnings\nwarnings.simplefilter('error')",
    ],
)
def test_what_a_notebook_sets_changes_no_verdict(bare, before):
    bare.inside.run(f"{USUAL}\n{before}", 30)
    assert judge.verdict("2.1", bare.inside) == (True, "")
