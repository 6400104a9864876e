"""pytest plugin on top of nbval: one line an exercise, and the judge.

    pytest -p chapter_checks.grading.nbval_plugin --nbval-lax --nbval-current-env \\
        notebooks/coursework

With --coursework-judge every check that passes in the notebook's kernel runs once more here, in
pytest's process, with fresh random inputs: the kernel only computes values. Whatever a student does
to the checks in the notebook, the judge does not see it.
"""

import math
import queue
import re
import secrets
import time

import pytest
from _pytest.skipping import xfailed_key
from nbval.plugin import IPyNbCell, NbCellError

from .. import engine
from .inside import Remote

# of a report: (notebook, exercise, passed?, line), also when pytest-xdist carries it to another
# process
PROPERTY = "coursework"
COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("coursework")
    group.addoption(
        "--coursework-judge",
        action="store_true",
        help="run each passed check again in this process, with fresh inputs",
    )


def exercise_of(item: pytest.Item) -> str | None:
    tags = item.cell.metadata.get("tags", []) if isinstance(item, IPyNbCell) else []
    return next((tag.removeprefix("check:") for tag in tags if tag.startswith("check:")), None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if isinstance(item, IPyNbCell):
            # nbval gives a busy machine only 5 s between messages (nbval issue 231)
            item.output_timeout = 60


def notice_death(kernel) -> None:
    """nbval waits for a kernel that has ended until the time is up; now it notices in a second."""
    wait = kernel.get_message

    def get_message(stream: str, timeout: float | None = None) -> dict:
        end = time.monotonic() + (math.inf if timeout is None else timeout)
        while True:
            try:
                return wait(stream, timeout=min(1, max(end - time.monotonic(), 0)))
            except queue.Empty:
                if time.monotonic() >= end or not kernel.is_alive():
                    raise

    kernel.get_message = get_message


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item):
    yield
    if isinstance(item, IPyNbCell):
        if item.cell_num == 0 and item.parent.kernel:
            notice_death(item.parent.kernel)
        # nbval expects every cell after a timeout to fail, and would hide that it does
        item.own_markers[:] = [mark for mark in item.own_markers if mark.name != "xfail"]
        item.stash[xfailed_key] = None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item):
    yield  # nbval runs the cell, and raises if it fails
    number = exercise_of(item)
    if number and item.config.option.coursework_judge:
        seed = secrets.randbits(31)
        try:
            engine.run_check(number, Remote(item.parent.kernel), seed)
        except engine.CheckFailed as verdict:
            raise NbCellError(
                item.cell_num, f"{verdict} [fresh inputs, seed {seed}]", item.cell.source
            ) from None


def line_of(number: str, item: IPyNbCell, call: pytest.CallInfo) -> str:
    """The verdict if the check gave one, or why there is none."""
    errors = [out for out in item.test_outputs or [] if out.get("output_type") == "error"]
    if errors:
        verdict = errors[-1]["ename"] == engine.CheckFailed.__name__
        text = errors[-1]["evalue"] if verdict else f"{errors[-1]['ename']}: {errors[-1]['evalue']}"
    else:
        text = str(call.excinfo.value)
    line = COLOURS.sub("", text).strip().split("\n")[0][:400]
    if line.startswith("Exercise "):
        return line
    return f"Exercise {number}: its check did not come to an end ({line})."


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo):
    report = yield
    number = exercise_of(item)
    if number and (call.when == "call" or report.failed):
        line = ""
        if not report.passed:
            line = f"Exercise {number}: its check was skipped."
            if call.excinfo:
                line = line_of(number, item, call)
        verdict = (item.nodeid.split("::")[0], number, report.passed, line)
        report.user_properties.append((PROPERTY, verdict))
    return report


def verdicts_in(report: object) -> list[tuple[str, str, bool, str]]:
    return [value for key, value in getattr(report, "user_properties", []) if key == PROPERTY]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [report for group in terminalreporter.stats.values() for report in group]
    if verdicts := sorted(verdict for report in reports for verdict in verdicts_in(report)):
        terminalreporter.section("coursework")
        for notebook, number, passed, line in verdicts:
            terminalreporter.write_line(
                f"{notebook}  {line or f'Exercise {number}: {engine.PASSED}'}",
                green=passed,
                red=not passed,
            )
