"""Settings for all tests."""

import os
import re
import runpy
from pathlib import Path

import pytest
import torch
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

from lesson import ROOT, lesson, state_kept

os.environ.setdefault("PYTHONHASHSEED", "0")
# foolbox imports GitPython, which otherwise insists on git
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")

# No network, here and in all kernels and other processes that the tests start (test_offline.py).
OFFLINE = Path(__file__).parent / "offline"
runpy.run_path(str(OFFLINE / "sitecustomize.py"))
os.environ["PYTHONPATH"] = os.pathsep.join(
    filter(None, [str(OFFLINE), os.environ.get("PYTHONPATH")])
)

# The same random cases in every run: a failure can be repeated, and a pull request does not fail
# by chance. No timing decides a test.
repeatable = settings(derandomize=True, deadline=None)
settings.register_profile("repeatable", repeatable)
settings.register_profile("quick", repeatable, max_examples=10)  # make check
settings.load_profile("repeatable")


# Groups of tests that run in one process (make test has two); the longest start first.
LONGEST_FIRST = [
    "browser",
    "lesson 07",
    "notebooks/07_adversarial_robustness.ipynb",
    "tests/coursework/test_cheats.py",
    "tests/coursework/test_coursework_notebooks.py",
    "tests/coursework/test_zoo.py",
    "notebooks/06_expansive_steps.ipynb",
    "tests/test_checkpoints.py",
    "tests/test_robustness.py",
    "lesson 08",
    "notebooks/08_structure_preservation.ipynb",
    "lesson 04",
    "lesson 09",
    "notebooks/09_map_of_the_field.ipynb",
    "notebooks/04_networks_as_dynamical_systems.ipynb",
    "tests/test_five_regimes.py",
    "notebooks/05_nonexpansive_layers.ipynb",
]


def group(path: Path) -> str:
    """All tests in the browser share one JupyterLab, those of a lesson its execution."""
    parts = path.relative_to(ROOT).parts
    if parts[:2] == ("tests", "browser"):
        return "browser"
    if match := re.fullmatch(r"test_(?:claims|widgets|turns)_(\d\d)\.py", parts[-1]):
        return f"lesson {match[1]}"
    return "/".join(parts)


def start(item: pytest.Item) -> int:
    name = group(item.path)
    return LONGEST_FIRST.index(name) if name in LONGEST_FIRST else len(LONGEST_FIRST)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=start)


class ByGroup(LoadScopeScheduling):
    """A group stays in one process. (The marks of --dist loadgroup do not reach pytest 9.2.)"""

    def _split_scope(self, nodeid: str) -> str:
        return group(ROOT / nodeid.split("::")[0])


def pytest_xdist_make_scheduler(config: pytest.Config, log) -> ByGroup:
    return ByGroup(config, log)


@pytest.fixture(autouse=True, scope="module")
def _global_state_ends_with_the_module():
    with state_kept():
        yield


@pytest.fixture
def names(request):
    """The lesson with the number of the test file; its default dtype holds during the test."""
    shared = lesson(request.module.__name__[-2:])
    with state_kept():
        torch.set_default_dtype(shared.state.dtype)
        yield shared


@pytest.fixture
def double_precision_one_thread():
    """For tests of tiny matrices."""
    with state_kept():
        torch.set_default_dtype(torch.float64)
        torch.set_num_threads(1)
        yield
