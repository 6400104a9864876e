"""The files around the lessons agree with each other."""

import ast
import importlib
import inspect
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jupytext
import pytest
import torch
import yaml
from matplotlib.figure import Figure

import build
import chapter_utils
import reading_time
from chapter_utils import models, plotting, widgets
from figures.common import image_row
from lesson import ROOT

CONDA_NAMES = {"torch": "pytorch", "matplotlib": "matplotlib-base"}


def pip_requirements():
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    return dict(
        re.match(r"([\w-]+)(.*)", line).groups()
        for line in lines
        if line and not line.startswith("#")
    )


def test_conda_and_pip_ask_for_the_same():
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    conda = dict(
        re.match(r"([\w-]+)(.*)", entry).groups() for entry in conda if isinstance(entry, str)
    )
    assert {CONDA_NAMES.get(name, name): bound for name, bound in pip_requirements().items()} == {
        name: bound for name, bound in conda.items() if name not in ("python", "pip")
    }
    assert (
        conda["python"] == ">=3.10"
        and 'requires-python = ">=3.10"' in (ROOT / "pyproject.toml").read_text()
    )


def test_bounds_stay_loose_enough_for_colab():
    for name, bound in pip_requirements().items():
        assert re.fullmatch(r">=\d+(\.\d+)*", bound), (
            f"{name} has a bound that Colab's versions may not meet: {bound}"
        )


def test_every_requirement_has_a_tested_version_for_every_python():
    lines = (ROOT / "versions.txt").read_text().splitlines()
    pinned = {re.match(r"[\w.-]+", line)[0].lower().replace("_", "-") for line in lines}
    for line in lines:
        assert re.fullmatch(r"[\w.-]+==[\w.+!]+( ; .+)?", line), f"not a version: {line}"
    project = (ROOT / "pyproject.toml").read_text()
    dev = re.findall(r'"([\w-]+)>=', project.split("dev = [")[1].split("\n]")[0])
    assert len(dev) > 10
    assert {*map(str.lower, pip_requirements()), *dev} <= pinned, "run make versions"


WORKFLOWS = [
    *(ROOT / ".github" / "workflows").glob("*.yml"),
    ROOT / "chapter_checks" / "grading" / "classroom.yml",
]


def test_workflows_are_what_github_reads():
    schema = "vendor.github-workflows"
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, *WORKFLOWS]
    done = subprocess.run(command, capture_output=True, text=True)
    assert len(WORKFLOWS) >= 4 and done.returncode == 0, done.stdout


def test_workflows_name_targets_and_files_that_exist():
    makefiles = [ROOT / "Makefile", ROOT / "source" / "student" / "Makefile"]
    targets = re.findall(r"^(\w+):", "".join(path.read_text() for path in makefiles), re.MULTILINE)
    for path in WORKFLOWS[:-1]:
        text = path.read_text()
        assert set(re.findall(r"\bmake (\w+)", text)) <= set(targets), path.name
        for name in re.findall(r"\btests/[\w/]+\.py", text):
            assert (ROOT / name).exists(), (path.name, name)


def test_the_weekly_run_asks_what_it_promises_and_reports_every_failure():
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "weekly.yml").read_text())["jobs"]
    assert sorted(jobs.pop("report")["needs"]) == sorted(jobs)
    steps = [step for job in jobs.values() for step in job["steps"] if "run" in step]
    orders = " ".join(step["run"] for step in steps)
    for order in ("make test VERSIONS=newest", "test_colab.py", "make mutate", "make links"):
        assert order in orders, order
    (zoo,) = (step for step in steps if "test_zoo.py" in step["run"])
    assert zoo["env"] == {"SEEDS": "20"}
    text = (ROOT / "tests" / "test_colab.py").read_text()
    of_colab = re.findall(r"(ip\w+|matplotlib|numpy|torch) (\d[\d.]*\d)", text)
    assert len(of_colab) == 6
    for package, version in of_colab:
        assert f"{package}=={version}" in orders, "not Colab's version"


# Stands for Python, for pip and for uv: notes what it was asked for; fails where a file says so.
PRETENDED = """#!/bin/sh
echo "$0 $*" >> asked
case "$*" in
  *"-m venv"*)
    case "$*" in *--clear*) rm -rf .venv; esac
    mkdir -p .venv/bin
    cp "$0" .venv/bin/python
    cp "$0" .venv/bin/uv
    ;;
  *install*) touch .venv/installed; [ ! -e break_install ] || exit 1 ;;
esac
case "$0 $*" in *uv*"pip install"*) [ ! -e break_uv ] ;; esac
"""


@pytest.fixture
def make_venv(tmp_path):
    """`make venv` in a folder of its own, with a pretended Python; returns what it was asked."""
    for name in ("requirements.txt", "pyproject.toml", "versions.txt"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copy(ROOT / "source" / "student" / "Makefile", tmp_path)
    (tmp_path / "python").write_text(PRETENDED)
    (tmp_path / "python").chmod(0o755)

    def run(*arguments):
        (tmp_path / "asked").unlink(missing_ok=True)
        command = ["make", "venv", "PYTHON=./python", *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        asked = tmp_path / "asked"
        return done.returncode, asked.read_text() if asked.exists() else ""

    return run


def test_a_set_up_that_was_interrupted_starts_again(make_venv, tmp_path):
    (tmp_path / "break_install").touch()
    code, asked = make_venv()
    assert code != 0 and "--clear" not in asked and (tmp_path / ".venv" / "installed").exists()
    (tmp_path / "break_install").unlink()
    code, asked = make_venv()
    assert code == 0 and "-m venv --clear .venv" in asked, "what was half done is deleted"
    assert make_venv() == (0, ""), "nothing to do"
    (tmp_path / "requirements.txt").touch()
    code, asked = make_venv()
    assert code == 0 and "--clear" not in asked and "install" in asked


def test_the_tested_versions_are_installed_and_pip_helps_where_uv_cannot(make_venv, tmp_path):
    code, asked = make_venv()
    orders = [line for line in asked.splitlines() if "-r requirements.txt" in line]
    assert code == 0 and len(orders) == 1 and "uv pip install" in orders[0]
    assert "-c versions.txt" in orders[0]
    (tmp_path / "break_uv").touch()
    (tmp_path / "requirements.txt").touch()
    code, asked = make_venv("VERSIONS=newest", "TORCH_INDEX=https://a.b/cpu")
    orders = [line for line in asked.splitlines() if "-r requirements.txt" in line]
    assert code == 0 and len(orders) == 2 and "-m pip" in orders[1]
    assert "versions.txt" not in asked and "install torch torchvision --index-url" in asked


@pytest.mark.parametrize("file", build.ADDRESSED)
def test_one_address(file):
    text = (ROOT / file).read_text()
    assert set(re.findall(r"(?:github\.com|colab\S+github|/gh)/([\w.-]+/[\w.-]+)", text)) <= {
        build.REPOSITORY
    }
    assert build.REPOSITORY in text


def test_the_address_is_changed_in_every_file_that_names_it(tmp_path):
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True
    ).stdout.split()
    texts = {
        name: (ROOT / name).read_text()
        for name in tracked
        if Path(name).suffix in (".py", ".md", ".cff", ".yml", ".toml", "")
    }
    naming = {name for name, text in texts.items() if build.REPOSITORY in text}
    assert naming <= set(build.ADDRESSED) or not tracked  # without git there is nothing to compare
    notebooks = [path.relative_to(ROOT) for path in (ROOT / "notebooks").rglob("*.ipynb")]
    modules = [path.relative_to(ROOT) for path in (ROOT / "source").rglob("*.py")]
    for name in {*build.ADDRESSED, *map(str, [*modules, *notebooks])}:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text((ROOT / name).read_text())
    command = [sys.executable, tmp_path / "source" / "build.py", "--address"]
    assert subprocess.run([*command, "nonsense"], capture_output=True).returncode == 2
    subprocess.run([*command, "ann/course"], check=True, capture_output=True)
    for name in [*build.ADDRESSED, *notebooks]:
        text = (tmp_path / name).read_text()
        assert build.REPOSITORY not in text, name
    for name in build.ADDRESSED:
        assert "ann/course" in (tmp_path / name).read_text(), name
    current = "import build; assert all(map(build.is_current, build.sources()))"
    site = "import conf; assert conf.html_theme_options['repository_url'].endswith('/ann/course')"
    for folder, code in (("source", current), ("source/site", site)):
        subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path / folder)


def test_no_picture_is_elsewhere():
    """Without a network nothing is missing in what people open."""
    folders = ("", "notebooks", "notebooks/coursework", "chapter_checks", "source/student")
    paths = [path for folder in folders for path in (ROOT / folder).glob("*.md")]
    paths += (ROOT / "notebooks").rglob("*.ipynb")
    assert len(paths) > 25
    for path in paths:
        found = re.findall(r"!\[[^\]]*\]\(https?:[^)]*\)|<img[^>]*http[^>]*>", path.read_text())
        assert found == [], path.name


def test_readme_lists_every_lesson_with_its_minutes():
    readme = (ROOT / "README.md").read_text()
    for path in build.lessons():
        minutes = reading_time.minutes(jupytext.read(path, fmt="py:percent").cells)
        row = rf"^\| \[\d\. [^|]+\]\(notebooks/{path.stem}\.ipynb\) \| [^|]+ \| {minutes} \| "
        assert re.search(row, readme, re.MULTILINE), (path.stem, minutes)
    assert not re.search(r"@[A-Z]+@", readme), "a number is still to be measured"


BENCHMARKS = sorted(
    path.name
    for path in (ROOT / "benchmarks").glob("*.py")
    if path.name not in ("devices.py", "files.py", "resumable.py")  # only imported by the others
)


@pytest.mark.slow
@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_benchmark_is_named_in_the_readme_and_starts(name):
    assert f"`{name}`" in (ROOT / "README.md").read_text()
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / name, "--help"], capture_output=True, text=True
    )
    assert done.returncode == 0 and "usage:" in done.stdout, done.stderr


def test_the_recipe_of_the_lesson_is_that_of_the_benchmark_and_of_its_stored_results(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    benchmark = importlib.import_module("robustness")
    lesson = (build.LESSONS / "07_adversarial_robustness.py").read_text()
    recipe = benchmark.OURS
    for setting in (
        f"margin={recipe.margin}, temperature={recipe.temperature}",
        f"batch_size={recipe.batch}",
        f"learning_rate={recipe.learning_rate}",
        f"optimiser=muon.{recipe.optimiser.__name__}",
        f"augment=training.{recipe.augment.__name__}",
    ):
        assert setting in lesson, setting
    defaults = inspect.signature(models.nonexpansive_net).parameters
    assert [defaults[name].default for name in ("width", "depth", "c")] == [
        recipe.width,
        recipe.depth,
        recipe.step,
    ]
    stored = json.loads((ROOT / "benchmarks" / "results" / "ablation.json").read_text())
    assert stored["validation"] and [row["name"] for row in stored["rows"]] == [
        f"{name}, 20 s" for name in benchmark.ABLATION
    ]
    assert all(
        len(row["seeds"]) == 3 and row["steps"] == round(20e3 / benchmark.QUIET["ours"])
        for row in stored["rows"]
    )


PACKAGE = ROOT / "chapter_utils"


def order_of_use():
    """The modules, from the first to the last line of the map in chapter_utils/__init__.py."""
    lines = chapter_utils.__doc__.split("\n\n")[1].splitlines()[1:]
    order = []
    for line in lines:
        name, rest = line.split(maxsplit=1)
        order += [*re.findall(r"\(`(\w+)`: ", rest), name]
    return order


def own_imports(path):
    """The modules of the package that a module imports, and the other packages of this project."""
    package = ["chapter_utils", *path.relative_to(PACKAGE).parent.parts]
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else []
            module = ".".join([*above, *filter(None, [node.module])])
            names = [f"{module}.{alias.name}" for alias in node.names]
        for name in names:
            first, *rest = name.split(".")
            if first == "chapter_utils":
                found.add(rest[0] if rest else "")
            elif first in ("chapter_checks", "figures", "source", "notebooks", "benchmarks"):
                found.add(first)
    return found


def test_the_map_of_the_package_names_every_module_once():
    modules = [path.stem for path in PACKAGE.glob("*.py") if path.stem != "__init__"]
    assert sorted(order_of_use()) == sorted([*modules, "certificates"])
    assert order_of_use()[-1] == "certificates"


def imports_of_the_package():
    """What each module imports of the others; the modules of certificates count as one."""
    imports = {}
    for path in PACKAGE.rglob("*.py"):
        module = path.relative_to(PACKAGE).with_suffix("").parts[0]
        own = own_imports(path) - {module}
        imports[module] = imports.get(module, set()) | own
    return imports


def test_a_module_imports_only_what_is_used_before_it():
    order = order_of_use()
    imports = imports_of_the_package()
    assert imports.pop("__init__") == set()
    for module, used in imports.items():
        later = order[order.index(module) :]
        assert used <= set(order) - set(later), f"{module} imports {used & set(later) or used}"


def test_the_modules_of_certificates_import_each_other_without_cycles():
    folder = PACKAGE / "certificates"
    names = {path.stem for path in folder.glob("*.py")} - {"__init__"}
    waiting = {}
    for name in names:
        tree = ast.parse((folder / f"{name}.py").read_text())
        used = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        siblings = {node.module for node in used if node.level == 1 and node.module}
        siblings |= {a.name for n in used if n.level == 1 and not n.module for a in n.names}
        assert siblings <= names
        waiting[name] = siblings
    while waiting:
        free = {name for name, siblings in waiting.items() if not siblings & set(waiting)}
        assert free, f"these import each other: {waiting}"
        waiting = {name: siblings for name, siblings in waiting.items() if name not in free}


def test_importing_the_package_changes_nothing_and_needs_no_torchvision():
    code = (
        "import torch, sys\n"
        "random = torch.random.get_rng_state()\n"
        "dtype = torch.get_default_dtype()\n"
        f"from chapter_utils import {', '.join(order_of_use())}\n"
        "assert torch.equal(random, torch.random.get_rng_state())\n"
        "assert dtype == torch.get_default_dtype()\n"
        "assert 'torchvision' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# ---- figures -------------------------------------------------------------------------------------


def test_every_figure_needs_a_description():
    with pytest.raises(ValueError, match="description"):
        plotting.show(Figure(), "  ")


def live(update):
    import ipywidgets

    return widgets.LiveFigure(
        Figure(), update, c=ipywidgets.FloatSlider(min=0, max=3, value=1, description="c")
    )


def test_live_figure_follows_its_control_and_comes_back():
    figure = Figure(figsize=(2, 1))
    axis = figure.add_subplot()
    (line,) = axis.plot([0, 1], [0, 1])
    axis.set_ylim(0, 3)

    def update(c):
        line.set_ydata([0, c])
        return f'slope <{c}> & "more"'

    import ipywidgets

    shown = widgets.LiveFigure(
        figure, update, c=ipywidgets.FloatSlider(min=0, max=3, value=1, description="c")
    )
    first = shown.view.value
    assert 'alt="slope &lt;1.0&gt; &amp; &quot;more&quot;"' in first
    slider = shown.controls["c"]
    slider.value = 2.0
    assert "slope &lt;2.0&gt;" in shown.view.value
    assert shown.view.value.split("base64,")[1][:4000] != first.split("base64,")[1][:4000]
    slider.value = 1.0
    assert shown.view.value == first


def test_live_figure_states_its_controls_without_a_kernel():
    bundle = live(lambda c: "x")._repr_mimebundle_()
    assert (
        "controls: c" in bundle["text/plain"]
        and "application/vnd.jupyter.widget-view+json" in bundle
    )


def test_image_row_shows_grey_and_colour():
    figure = Figure()
    image_row(figure.subplots(1, 2), torch.rand(2, 1, 4, 4), ["a", "b"])
    image_row(figure.subplots(1, 2), torch.rand(2, 3, 4, 4), ["a", "b"])
    with pytest.raises(ValueError):
        image_row(figure.subplots(1, 2), torch.rand(3, 1, 4, 4), ["a", "b"])
