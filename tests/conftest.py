"""Settings for all tests."""

import os
import runpy
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from lesson import lesson, state_kept

os.environ.setdefault("PYTHONHASHSEED", "0")
os.environ.setdefault(
    "GIT_PYTHON_REFRESH", "quiet"
)  # foolbox imports GitPython, which otherwise insists on git

# No network, here and in all kernels and other processes that the tests start (test_offline.py).
OFFLINE = Path(__file__).parent / "offline"
runpy.run_path(str(OFFLINE / "sitecustomize.py"))
os.environ["PYTHONPATH"] = os.pathsep.join(
    filter(None, [str(OFFLINE), os.environ.get("PYTHONPATH")])
)

# The same random cases in every run: a failure can be repeated, and a pull request does not fail by chance.
settings.register_profile("repeatable", derandomize=True, deadline=None)  # no timing decides a test
settings.load_profile("repeatable")


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
