"""What mybinder.org will build and open, as far as files can tell.

(If binder/ exists, Binder reads nothing at the top level.)
"""

import os
import re
import subprocess

import pytest
import yaml

import build
from lesson import ROOT

BINDER = ROOT / "binder"
# conda's match specification, the part that we use: name, then nothing or bounds joined by commas.
SPEC = re.compile(
    r"([a-z0-9][a-z0-9._-]*)((?:(?:>=|<=|==|!=|<|>|=)\d+(?:\.\d+)*(?:\.\*)?)(?:,(?:>=|<=|==|!=|<|>)\d+(?:\.\d+)*)*)?"
)
OTHER_NAMES = {"torch": "pytorch-cpu", "matplotlib": "matplotlib-base"}


def version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))


def dependencies(entries: list) -> dict[str, str]:
    """Bounds by package; an entry that conda cannot read, or no version meets, is an error."""
    found = {}
    for entry in entries:
        match = SPEC.fullmatch(entry) if isinstance(entry, str) else None
        if match is None:
            raise ValueError(f"not a conda requirement: {entry!r}")
        bounds = match[2] or ""
        low = [version(v) for v in re.findall(r">=?([\d.]+)", bounds)]
        high = [version(v) for v in re.findall(r"<=?([\d.]+)", bounds)]
        if low and high and max(low) >= min(high):
            raise ValueError(f"no version satisfies {entry!r}")
        found[match[1]] = bounds
    return found


@pytest.fixture(scope="module")
def packages():
    return dependencies(yaml.safe_load((BINDER / "environment.yml").read_text())["dependencies"])


def test_environment_is_the_file_that_counts():
    assert {path.name for path in BINDER.iterdir()} == {"environment.yml", "postBuild", "start"}, (
        "others would be ignored beside it"
    )
    assert not (ROOT / ".binder").exists()
    assert yaml.safe_load((BINDER / "environment.yml").read_text())["channels"][0] == "conda-forge"


def test_python_is_pinned_and_supported(packages):
    assert re.fullmatch(r"=3\.\d+", packages["python"]), "without a pin repo2docker takes 3.10"
    wanted = re.search(r'requires-python = ">=([\d.]+)"', (ROOT / "pyproject.toml").read_text())[1]
    assert version(packages["python"][1:]) >= version(wanted)


def test_cpu_only(packages):
    assert "pytorch-cpu" in packages and not {
        "pytorch",
        "pytorch-gpu",
        "pytorch-cuda",
        "cuda-version",
        "matplotlib",
    } & set(packages)
    assert "assert not torch.version.cuda" in (BINDER / "postBuild").read_text()


def test_everything_that_the_lessons_need(packages):
    for line in (ROOT / "requirements.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            name, low = re.fullmatch(r"([\w-]+)>=([\d.]+)", line).groups()
            assert version(
                re.search(r">=([\d.]+)", packages[OTHER_NAMES.get(name, name)])[1]
            ) >= version(low), name


def test_scripts():
    for name in ("postBuild", "start"):
        path = BINDER / name
        text = path.read_text()
        assert os.access(path, os.X_OK) and text.startswith("#!/bin/bash\n") and "\r" not in text
        subprocess.run(["bash", "-n", str(path)], check=True)
    assert "set -e" in (BINDER / "postBuild").read_text(), "otherwise a failing line goes unseen"
    assert "pip install --no-deps ." in (BINDER / "postBuild").read_text(), (
        "pip must not bring another torch"
    )


def test_start_hands_over_with_all_arguments(tmp_path):
    done = subprocess.run(
        [BINDER / "start", "printf", "%s|", "a b", "$HOME", ""],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "a b|$HOME||"
    done = subprocess.run(
        [BINDER / "start", "sh", "-c", "echo $OMP_NUM_THREADS; exit 3"],
        capture_output=True,
        text=True,
    )
    assert done.stdout == "1\n" and done.returncode == 3


def test_links_open_lessons_that_exist():
    readme = (ROOT / "README.md").read_text()
    opened = re.findall(r"https://mybinder\.org/v2/gh/[\w./-]+\?urlpath=lab/tree/([\w./]+)", readme)
    opened += [
        re.search(r"urlpath=lab/tree/([\w./]+)\)", build.links(path.stem))[1]
        for path in build.lessons()
    ]
    assert opened[0] == "notebooks/01_flows_and_stability.ipynb", "the README opens lesson 1"
    for place in opened:
        assert (ROOT / place).exists(), place
    for place in re.findall(
        r"https://colab\.research\.google\.com/github/[\w.-]+/[\w.-]+/blob/main/([\w./]+)", readme
    ):
        assert (ROOT / place).exists(), place


@pytest.mark.parametrize(
    "entry",
    [
        "torch => 2.5",
        "numpy>=",
        "numpy>=2,<2",
        "jupyterlab>=4.4,<4",
        {"pip": ["torch"]},
        "torch @ https://x",
        "python 3.12",
    ],
)
def test_bad_requirements_are_noticed(entry):
    with pytest.raises(ValueError):
        dependencies([entry])
