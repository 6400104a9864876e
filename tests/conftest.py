"""Settings for all tests."""

import os
import runpy
from pathlib import Path

import pytest
import torch
from hypothesis import settings

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
    """A lesson sets PyTorch's default dtype and draws random numbers; the next test file must not notice."""
    dtype, state, threads = (
        torch.get_default_dtype(),
        torch.random.get_rng_state(),
        torch.get_num_threads(),
    )
    yield
    torch.set_num_threads(threads)
    torch.set_default_dtype(dtype)
    torch.random.set_rng_state(state)
