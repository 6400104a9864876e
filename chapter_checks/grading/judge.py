"""The process that judges one notebook: it draws the inputs, the sandbox computes the values.

It imports its checks before the student's code starts, and what comes out of the sandbox is read as
JSON of limited size. To the grader it says in JSON what it found:

    ["ready"]                                 from here on it is the student's code that runs
    ["verdict", number, passed, line, ended]  ended: the kernel is dead
    ["failed", why]                           no fault of the student's
    ["end"]                                   and nothing is missing
"""

import contextlib
import json
import os
import queue
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
from multiprocessing.connection import Connection
from typing import Any

import psutil
import torch

from .. import engine
from . import sandbox

DRAWS = 3  # of inputs for an exercise: so seldom is a wrong answer lucky
CHECK = 30  # seconds for a check: more than in the notebook, since the machine may be busy
LONGEST = 64 * 2**20  # bytes of a reply
START = 300  # seconds; a machine may be busy


class Ended(Exception):
    """There is no kernel any more, and why."""


class Inside:
    """The student's code in its sandbox, seen from the judge."""

    def __init__(self, place: sandbox.Place):
        self.errors = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            place.command,
            env=place.environment,
            cwd=place.folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            start_new_session=True,
        )
        self.ended = ""
        self.closed = False
        self.lines: queue.Queue[bytes] = queue.Queue(2)
        self.threads = [threading.Thread(target=do, daemon=True) for do in (self.read, self.watch)]
        for thread in self.threads:
            thread.start()
        if self.next_line(START).get("status") != "ready":
            self.close()
            raise Ended(self.why)

    def read(self) -> None:
        """Queue the replies. The queue is short: who writes on and on waits."""
        line = b"\n"
        while line.endswith(b"\n"):
            line = self.process.stdout.readline(LONGEST)
            while not self.closed:
                with contextlib.suppress(queue.Full):
                    self.lines.put(line, timeout=0.2)
                    break

    def watch(self) -> None:
        """End it as soon as its processes together are too many, or too large."""
        while self.process.poll() is None and not self.ended:
            try:
                family = psutil.Process(self.process.pid).children(recursive=True)
                if len(family) > sandbox.PROCESSES:
                    self.stop(f"more than {sandbox.PROCESSES} processes")
                elif memory_of(family) > sandbox.MEMORY:
                    self.stop(f"more than {sandbox.MEMORY / 2**30:g} GB of memory")
            except psutil.Error:  # one of them has just ended
                pass
            time.sleep(0.2)

    def next_line(self, seconds: float) -> dict:
        try:
            line = self.lines.get(timeout=seconds)
            reply = json.loads(line or '{"status": "ended", "why": "it exited"}')
        except queue.Empty:
            self.stop("it did not answer in time")
        except (ValueError, RecursionError):
            self.stop("its answer was too long or could not be read")
        else:
            if isinstance(reply, dict):
                return reply
            self.stop("its answer could not be read")
        return {"status": "ended", "why": self.ended}

    def send(self, request: dict, seconds: float) -> dict:
        """The reply to a request, whatever it may hold."""
        if self.ended:
            return {"status": "ended", "why": self.ended}
        try:
            self.process.stdin.write(json.dumps(request).encode() + b"\n")
            self.process.stdin.flush()
        except OSError:
            self.stop("it exited")
        reply = self.next_line(seconds)
        if reply.get("status") == "ended":
            self.stop(str(reply.get("why"))[:200])
        return reply

    def run(self, source: str, seconds: float) -> None:
        """Run a cell of the notebook. What is wrong with it, its check will say."""
        self.send({"cell": source, "seconds": seconds}, 3 * seconds + 30)

    def ask(self, request: dict) -> dict:
        """A request of a check, for the bench in the kernel."""
        reply = self.send(request, 3 * request["seconds"] + 60)
        if self.ended:
            return {"problem": ["ended", self.ended]}
        problem = reply.get("problem")
        if isinstance(problem, list) and len(problem) == 2:
            kind, text = problem
            if kind == "ended":
                self.stop(str(text)[:200])
            return {"problem": [str(kind)[:100], str(text)[:300]]}
        return {"value": reply.get("value")}

    def stop(self, why: str) -> None:
        """End all of it; the first reason is kept."""
        self.ended = self.ended or why
        end_all(self.process)

    def close(self) -> None:
        """End it and let go of it; if it did not start, `why` is the last thing that it said."""
        self.stop("it did not start")
        self.closed = True
        self.process.wait()
        self.errors.seek(0)
        said = self.errors.read()[-4000:].decode(errors="replace").strip().splitlines()
        self.why = said[-1][:300] if said else self.ended
        for thread in self.threads:
            thread.join()
        with contextlib.suppress(OSError):  # what was not sent
            self.process.stdin.close()
        self.process.stdout.close()
        self.errors.close()


def memory_of(family: list[psutil.Process]) -> int:
    """Bytes. What they share is counted once if there is too much: it takes longer to find out."""
    total = sum(process.memory_info().rss for process in family)
    if total > sandbox.MEMORY:
        with contextlib.suppress(psutil.AccessDenied):
            total = sum(process.memory_full_info().uss for process in family)
    return total


def end_all(process: subprocess.Popen) -> None:
    """Kill the process and, as far as they can be seen, all that it started."""
    try:
        family = psutil.Process(process.pid).children(recursive=True)
    except psutil.Error:
        family = []
    for one in [process, *family]:
        try:
            one.kill()
        except (psutil.Error, OSError):  # it has ended
            pass


def verdict(number: str, inside: Inside) -> tuple[bool | None, str]:
    """Whether the answer passes for every draw, and the line if it does not.

    None if the check itself is at fault.
    """
    inside.send({"begin": True}, START)
    if inside.ended:
        return (
            False,
            f"{engine.called(number)}: {engine.NOT_YET}. Python had ended: {inside.ended}.",
        )
    for _ in range(DRAWS):
        seed = secrets.randbits(31)
        try:
            engine.run_check(number, inside, seed, CHECK)
        except engine.CheckFailed as failed:
            line = f"{str(failed)[:600]} [fresh inputs, seed {seed}]"
            return None if failed.__cause__ else False, line
    return True, ""


def judge_cells(cells: list[tuple[str, str]], place: sandbox.Place, seconds: float, say: Any):
    """Run the cells, (source, number of the exercise that is checked here, or "")."""
    for _, number in cells:
        if number:
            engine.find(number)
    try:
        inside = Inside(place)
    except Ended as error:
        say("failed", f"the sandbox did not start: {error}")
        return
    try:
        say("ready")
        for source, number in cells:
            if number:
                passed, line = verdict(number, inside)
                say("verdict", number, passed, line, bool(inside.ended))
            else:
                inside.run(source, seconds)
        say("end")
    finally:
        inside.close()


def judge(cells: list, place: sandbox.Place, seconds: float, grader: Connection) -> None:
    """The process: judge the cells and tell the grader."""

    def say(*message: Any) -> None:
        grader.send_bytes(json.dumps(message).encode())

    # Ctrl-C is for the grader, which then ends this process
    signal.signal(signal.SIGINT, lambda *_: None)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    torch.set_num_threads(1)
    silence = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(silence, stream)
    try:
        judge_cells(cells, place, seconds, say)
    except Exception as error:
        say("failed", f"{type(error).__name__}: {error}"[:300])
