"""A real JupyterLab in a real browser (Debian's Chromium, driven by Playwright): the fixtures.

Nothing of the user's own Jupyter is touched: every folder is a temporary one, and the lessons are
copies without outputs.
Without Chromium these tests are skipped; with REQUIRE_BROWSER=1, which .ci/run sets, they fail.
"""

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nbformat
import pytest

from lesson import ROOT

SCREENSHOTS = ROOT / "build" / "screenshots"  # for a person to look at; git ignores the folder
SLOWEST = (
    "06_expansive_steps",
    "07_adversarial_robustness",
)  # start first and are looked at last: the others run meanwhile
HOW_TO_INSTALL = (
    "No browser: `apt install chromium` and `pip install -e '.[dev]'`; "
    "or name one with CHROMIUM=/path/to/chrome."
)
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
]
WINDOW = {"width": 1200, "height": 1600}
LAB_SETTINGS = {
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False},
    "@jupyterlab/notebook-extension:tracker": {
        "windowingMode": "none"
    },  # otherwise cells out of sight do not exist in the page
    "@jupyterlab/docmanager-extension:plugin": {"autosave": False},
}


def pytest_collection_modifyitems(items):
    here = Path(__file__).parent
    mine = [item for item in items if here in item.path.parents]
    for item in mine:
        item.add_marker(pytest.mark.slow)
    last = [item for item in mine if any(stem in item.name for stem in SLOWEST)]
    if last:
        place = max(items.index(item) for item in mine)
        for item in last:
            items.remove(item)
        items[place + 1 - len(last) : place + 1 - len(last)] = last


@pytest.fixture(scope="package")
def browser():
    """One Chromium. It reaches this machine only."""
    found = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        found = None
    if not found:
        (pytest.fail if os.environ.get("REQUIRE_BROWSER") else pytest.skip)(HOW_TO_INSTALL)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=found, args=CHROMIUM_FLAGS)
        context = chromium.new_context(viewport=WINDOW)
        context.set_default_timeout(60_000)
        yield context
        chromium.close()


@pytest.fixture(scope="package")
def lab(tmp_path_factory):
    """A JupyterLab that serves copies of the lessons, as a clone of the repository would."""
    root = tmp_path_factory.mktemp("lab")
    (root / "work" / "notebooks").mkdir(parents=True)
    for folder in ("notebooks/figures", "benchmarks/results"):  # what lessons read
        shutil.copytree(ROOT / folder, root / "work" / folder)
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        notebook = nbformat.read(path, as_version=4)
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
        nbformat.write(notebook, root / "work" / "notebooks" / path.name)
    (root / "app").mkdir()
    (root / "app" / "overrides.json").write_text(json.dumps(LAB_SETTINGS))
    folders = (
        "JUPYTER_CONFIG_DIR",
        "JUPYTER_DATA_DIR",
        "JUPYTER_RUNTIME_DIR",
        "JUPYTERLAB_SETTINGS_DIR",
        "JUPYTERLAB_WORKSPACES_DIR",
    )
    environment = (
        os.environ
        | {name: str(root / name.lower()) for name in (*folders, "IPYTHONDIR")}
        | {"OMP_NUM_THREADS": "1"}
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token, address = secrets.token_hex(16), f"http://127.0.0.1:{port}"
    command = [
        sys.executable,
        "-m",
        "jupyterlab",
        "--no-browser",
        "--allow-root",
        "--ip=127.0.0.1",
        f"--port={port}",
        "--ServerApp.port_retries=0",
        f"--ServerApp.token={token}",
        f"--ServerApp.root_dir={root / 'work'}",
        f"--LabApp.app_settings_dir={root / 'app'}",
        "--LabApp.expose_app_in_browser=True",
        "--LabApp.extension_manager=readonly",
    ]
    log = root / "lab.log"
    with log.open("w") as out:
        server = subprocess.Popen(
            command, env=environment, cwd=root, stdout=out, stderr=subprocess.STDOUT
        )
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(f"{address}/api/status?token={token}", timeout=2).close()
                break
            except OSError:
                time.sleep(0.25)
            assert server.poll() is None, "JupyterLab stopped:\n" + log.read_text()[-3000:]
        else:
            pytest.fail("JupyterLab did not answer within a minute:\n" + log.read_text()[-3000:])
        yield {"address": address, "token": token, "notebooks": root / "work" / "notebooks"}
    finally:
        server.terminate()  # it ends its kernels, then itself
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


# In the page. A lab that starts while another announces its name in localStorage takes fright;
# here no page hears of another.
ALONE = "window.addEventListener('storage', event => event.stopImmediatePropagation());"
# Lab's own status says idle before there is a kernel; then Run All would ask for one and wait for
# ever.
IDLE = """
const pause = () => new Promise(done => setTimeout(done, 30));
window.idle = async () => {
    for (let since = null; since === null || performance.now() - since < 150; await pause()) {
        const context = window.jupyterapp?.shell.currentWidget?.context;
        const kernel = context?.sessionContext?.session?.kernel;
        const idle = kernel?.connectionStatus === 'connected' && kernel.status === 'idle';
        since = idle ? since ?? performance.now() : null;
    }
};
"""
RUN_ALL = """
(async () => {
    await window.idle();
    jupyterapp.shell.collapseLeft();
    window.ran = await jupyterapp.commands.execute('notebook:run-all-cells').catch(String);
})();
"""


class OpenNotebook:
    """A notebook in a tab of its own, which runs all cells by itself.

    `trouble` is everything that goes wrong there, seen by a student or not.
    """

    def __init__(self, browser, lab, stem: str):
        self.stem, self.trouble = stem, []
        self.page = browser.new_page()
        self.page.on(
            "console",
            lambda message: (
                message.type == "error" and self.trouble.append(f"console: {message.text}")
            ),
        )
        self.page.on("pageerror", lambda error: self.trouble.append(f"page error: {error}"))
        self.page.on("websocket", lambda socket: socket.on("framereceived", self._frame))
        self.page.add_init_script(ALONE + IDLE + RUN_ALL)
        place = f"{lab['address']}/lab/workspaces/{stem}/tree/notebooks/{stem}.ipynb"
        self.page.goto(f"{place}?token={lab['token']}&reset", wait_until="commit")

    def _frame(self, payload):
        """An error under `observe` appears nowhere in the page: only the kernel tells of it."""
        text = payload.decode(errors="replace") if isinstance(payload, bytes) else payload
        if '"msg_type":"error"' in text or '"msg_type": "error"' in text:
            self.trouble.append(f"error from the kernel: {text[-800:]}")

    def idle(self) -> None:
        """Wait until the kernel has had nothing to do for 150 ms."""
        self.page.evaluate("idle()")

    def ran(self, timeout: float = 600) -> bool:
        """Wait for Run All; True if no cell stopped it."""
        self.page.wait_for_function("window.ran !== undefined", timeout=1000 * timeout, polling=100)
        self.idle()
        return self.page.evaluate("window.ran") is True

    def outputs(self) -> list[dict]:
        model = "jupyterapp.shell.currentWidget.content.model.sharedModel"
        cells = self.page.evaluate(f"{model}.cells.map(cell => cell.toJSON())")
        return [out for cell in cells for out in cell.get("outputs", [])]

    def errors(self) -> list[str]:
        found = list(self.trouble)
        for out in self.outputs():
            if out["output_type"] == "error" or out.get("name") == "stderr":
                text = "".join(out.get("text", ""))[-400:]
                found.append(f"output: {out.get('ename', '')} {out.get('evalue', '')} {text}")
            if "".join(out.get("data", {}).get("text/plain", "")).startswith("<Figure"):
                found.append("output: a figure shown as text")
        shown = self.page.locator(
            ".widget-output [data-mime-type='application/vnd.jupyter.stderr'], "
            ".jupyter-widgets-error-widget"
        )
        found += [f"widget: {text[-400:]}" for text in shown.all_inner_texts()]
        for text in ("Error displaying widget", "Loading widget..."):
            found += [f"widget: {text}"] * self.page.locator(".jp-OutputArea").get_by_text(
                text
            ).count()
        return found

    def live_figures(self) -> list:
        boxes = self.page.locator(
            ".jp-OutputArea-output .widget-vbox", has=self.page.locator(".widget-html img")
        )
        return [boxes.nth(k) for k in range(boxes.count())]

    def screenshot(self) -> None:
        """The whole lesson as one picture: the window is made as tall as the notebook."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        bottom = self.page.evaluate(
            """() => {
                const cells = document.querySelector('.jp-WindowedPanel-outer');
                cells.scrollTop = 0;
                return [...cells.querySelectorAll('.jp-Cell')].pop().getBoundingClientRect().bottom;
            }"""
        )
        self.page.set_viewport_size(
            {"width": 1200, "height": min(16_000, int(bottom) + 60)}
        )  # no picture is higher than 16384
        self.page.screenshot(path=SCREENSHOTS / f"{self.stem}.png")
        self.page.set_viewport_size(WINDOW)

    def close(self) -> None:
        self.page.evaluate("jupyterapp.shell.currentWidget.context.sessionContext.shutdown()")
        self.page.evaluate("() => { jupyterapp.shell.currentWidget.context.model.dirty = false }")
        self.page.close()


@pytest.fixture(scope="package")
def opened(browser, lab, request):
    """Opens a notebook by its name and starts Run All.

    The slowest lessons and the next one run while it is looked at.
    """
    tabs: dict[str, OpenNotebook] = {}
    order = [
        item.callspec.params["stem"]
        for item in request.session.items
        if item.name.startswith("test_lesson[")
    ]

    def get(stem: str) -> OpenNotebook:
        following = order[order.index(stem) + 1 :][:1] if stem in order else order[:1]
        for name in (stem, *(name for name in SLOWEST if name in order), *following):
            if name not in tabs:
                tabs[name] = OpenNotebook(browser, lab, name)
        tabs[stem].page.bring_to_front()  # a list opens in front only
        return tabs[stem]

    return get
