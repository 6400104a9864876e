"""How much memory each lesson needs: the peak resident size of its kernel while its cells run.

    python benchmarks/memory.py       every lesson, in this Python
    python benchmarks/memory.py 07 --python OTHER/bin/python
                                      one lesson, in another Python (one with CPU-only PyTorch, as
                                      on Binder)

Binder gives a session 2 GB in all, JupyterLab's own 0.1 GB included, so the aim is a maximum of
1.2 GB. Linux only (/proc). A CUDA build of PyTorch needs about 0.3 GB more than a CPU build: the
table says which one ran.
"""

import argparse
import json
import os
import re
import sys
import tempfile
import time
import warnings
from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
AIM = 1.2
MEASURE = """import platform, torch
with open("/proc/self/status") as file:
    peak = next(line.split()[1] for line in file if line.startswith("VmHWM"))
build = "CUDA " + torch.version.cuda if torch.version.cuda else "CPU only"
print(peak, f"Python {platform.python_version()}, torch {torch.__version__} ({build})")"""


def run(path: Path, python: str, folder: Path) -> tuple[float, str]:
    """Peak in GB of the kernel that ran this lesson, and what it ran on."""
    kernel = folder / "kernels" / "measured"
    kernel.mkdir(parents=True, exist_ok=True)
    description = {
        "argv": [python, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": "m",
        "language": "python",
        "env": {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(NOTEBOOKS.parent)},
    }
    (kernel / "kernel.json").write_text(json.dumps(description))
    os.environ["JUPYTER_PATH"] = str(folder)
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(MEASURE))
    where = {"metadata": {"path": str(NOTEBOOKS)}}
    NotebookClient(notebook, kernel_name="measured", timeout=900, resources=where).execute()
    peak, what = re.match(r"(\d+) (.*)", notebook.cells[-1].outputs[0].text).groups()
    return int(peak) * 1024 / 1e9, what


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("lessons", nargs="*", help="two-digit numbers; all if none is given")
    parser.add_argument("--python", default=sys.executable)
    options = parser.parse_args()
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    paths = [
        path
        for path in sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))
        if not options.lessons or path.name[:2] in options.lessons
    ]
    peaks = []
    with tempfile.TemporaryDirectory() as folder:
        for path in paths:
            start = time.perf_counter()
            peak, what = run(path, options.python, Path(folder))
            if not peaks:
                print(f"{what}\n{'lesson':36s}{'peak (GB)':>10s}{'seconds':>9s}   at most {AIM} GB")
            peaks.append(peak)
            seconds = time.perf_counter() - start
            met = "yes" if peak <= AIM else "NO"
            print(f"{path.stem:36s}{peak:10.2f}{seconds:9.0f}   {met}", flush=True)
    return int(max(peaks) > AIM)


if __name__ == "__main__":
    sys.exit(main())
