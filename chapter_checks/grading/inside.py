"""What runs in the sandbox, as a script of its own: a Jupyter kernel, and who passes messages on.

A request of the judge is one line of JSON on the standard input, its reply one on the standard
output. Nothing here is trusted: the student's code can reach this process, and all that it can
change is what its own answers are.
"""

import ast
import json
import os
import queue
import sys
import time

import psutil
from nbval.kernel import CURRENT_ENV_KERNEL_NAME, RunningKernel

# No name of the notebook is used but that of a builtin, which it may have for something else.
SERVE = (
    "__import__('chapter_checks.bench', fromlist=['serve']).serve((lambda: 0).__globals__, {!r})"
)
# A cell may replace the streams, even by None; ipykernel needs them after it.
STREAMS = """
import IPython, sys
def restore(out=sys.stdout, err=sys.stderr):
    sys.stdout, sys.stderr = out, err
IPython.get_ipython().events.register("post_execute", restore)
del IPython, restore, sys
"""
START = 60  # seconds to import what the checks need
PATIENCE = 5  # seconds for a kernel to obey an interrupt
WAITING = 2  # times as long by the clock as by the kernel's own time, since the machine may be busy


def own_time(kernel: RunningKernel) -> float:
    """Seconds that the kernel has computed."""
    try:
        used = psutil.Process(kernel.km.provisioner.process.pid).cpu_times()
    except psutil.Error:  # it has ended
        return 0.0
    return used.user + used.system


def reply_to(message: str, kernel: RunningKernel, seconds: float) -> dict | None:
    """What the kernel replied to the message; None if it is still busy, or dead."""
    used = own_time(kernel)
    end = time.monotonic() + WAITING * seconds
    while time.monotonic() < end and own_time(kernel) - used < seconds:
        try:
            answer = kernel.kc.get_shell_msg(timeout=min(1, seconds))
        except queue.Empty:
            if not kernel.is_alive():
                return None
            continue
        if answer["parent_header"].get("msg_id") == message:
            return answer["content"]
    return None


def execute(kernel: RunningKernel, code: str, seconds: float, **expressions: str) -> dict:
    """Run the code in the kernel, and then the expressions: the content of the reply.

    Its "status" is "ok", "error", "slow" for what had to be interrupted, or "ended" for a kernel
    that is dead, which is how one ends that does not obey.
    """
    message = kernel.kc.execute(
        code,
        silent=not code,
        store_history=bool(code),
        allow_stdin=False,
        stop_on_error=False,
        user_expressions=expressions,
    )
    content = reply_to(message, kernel, seconds)
    if content is None and kernel.is_alive():
        kernel.interrupt()
        if reply_to(message, kernel, PATIENCE):
            return {"status": "slow"}
        if kernel.is_alive():
            kernel.stop()
            return {"status": "ended", "why": "a loop that could not be interrupted"}
    if content is None:
        return {"status": "ended", "why": death_of(kernel)}
    return content


def death_of(kernel: RunningKernel) -> str:
    code = kernel.km.provisioner.process.returncode
    if code is not None and code < 0:
        return f"it was killed, signal {-code}"
    return f"it exited, code {code}"


class Remote:
    """Asks the bench of chapter_checks in the kernel of a notebook, in JSON."""

    def __init__(self, kernel: RunningKernel):
        self.kernel = kernel
        self.begun = self.send({"begin": True}, START)

    def ask(self, request: dict) -> dict:
        return self.send(request, request["seconds"] + PATIENCE)

    def send(self, request: dict, seconds: float) -> dict:
        call = SERVE.format(json.dumps(request))
        content = execute(self.kernel, "", seconds, reply=call)
        if content["status"] == "ended":
            return {"problem": ["ended", content["why"]]}
        if content["status"] == "slow":
            return {"problem": ["too slow", ""]}
        reply = content.get("user_expressions", {}).get("reply", {})
        if reply.get("status") != "ok":
            return {"problem": [reply.get("ename", "Error"), str(reply.get("evalue"))[:160]]}
        return json.loads(ast.literal_eval(reply["data"]["text/plain"]))


def limit(memory: int, disk: int) -> None:
    """What a process may take, this one and all that it starts; the judge watches their sum."""
    if sys.platform == "linux":
        import resource

        most = {resource.RLIMIT_DATA: memory, resource.RLIMIT_FSIZE: disk, resource.RLIMIT_CORE: 0}
        for kind, amount in most.items():
            _, hard = resource.getrlimit(kind)
            if hard != resource.RLIM_INFINITY:
                amount = min(amount, hard)
            resource.setrlimit(kind, (amount, amount))


def main() -> None:
    """Serve the judge until it has no more requests; its pipes are out of the kernel's reach."""
    requests = os.fdopen(os.dup(sys.stdin.fileno()), encoding="utf-8")
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, sys.stdin.fileno())
    os.dup2(nothing, sys.stdout.fileno())
    limit(int(sys.argv[1]), int(sys.argv[2]))
    kernel = RunningKernel(CURRENT_ENV_KERNEL_NAME)
    execute(kernel, STREAMS, START)
    remote = Remote(kernel)
    if "problem" in remote.begun:
        raise RuntimeError(f"the kernel cannot import chapter_checks: {remote.begun}")
    print(json.dumps({"status": "ready"}), file=replies, flush=True)
    for line in requests:
        request = json.loads(line)
        if "cell" in request:
            content = execute(kernel, request["cell"], request["seconds"])
            reply = {key: content[key] for key in ("status", "why") if key in content}
        elif "begin" in request:
            remote = Remote(kernel)
            reply = {"status": "ok"}
        else:
            reply = remote.ask(request)
        print(json.dumps(reply), file=replies, flush=True)
    if kernel.is_alive():
        kernel.stop()


if __name__ == "__main__":
    main()
