"""The process that judges one notebook.

nbval runs the notebook, and what passes is checked again here with fresh inputs.
"""

import os
import signal
import sys
from multiprocessing.connection import Connection

import pytest
import torch

from . import nbval_plugin


class Report:
    """Sends each verdict to the grader as soon as it is there."""

    def __init__(self, grader: Connection):
        self.grader = grader

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        for _, number, passed, line in nbval_plugin.verdicts_in(report):
            self.grader.send((number, passed, line))


def judge(
    notebook: str, cell_seconds: int, environment: dict[str, str], grader: Connection
) -> None:
    """Judge the notebook; the student's kernel cannot reach the grader.

    It gets this environment and the notebook's folder.
    """
    # Ctrl-C is for the grader, which then ends this process
    signal.signal(signal.SIGINT, lambda *_: None)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(os.path.dirname(notebook))
    torch.set_num_threads(1)
    silence = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout.fileno(), sys.stderr.fileno()):
        os.dup2(silence, stream)
    options = ["--nbval", "--nbval-current-env", f"--nbval-cell-timeout={cell_seconds}"]
    options += ["--coursework-judge", f"--rootdir={os.path.dirname(notebook)}"]
    options += ["-q", "-c", os.devnull, "-p", "no:cacheprovider"]
    pytest.main([*options, notebook], plugins=[nbval_plugin, Report(grader)])
