"""make mutate: do the tests notice? One small change of the helper at a time (mutmut).

    python tests/mutation.py [MODULE ...]

Works in a copy of the project, build/mutated. mutmut leaves out functions with decorators, and with
them every rule of `certificates`: in the copy a decorator is called after its function, instead.
Prints the score of each module and the mutants that no test noticed; those named in HARMLESS need
no test. Tests that execute a lesson take too long for this.
"""

import ast
import os
import re
import shutil
import subprocess
import sys

from lesson import ROOT

COPY = ROOT / "build" / "mutated"
PARTS = ["benchmarks", "chapter_checks", "chapter_utils", "notebooks", "source", "tests"]
OF_CERTIFICATES = ["certificates", "rounding", "lipschitz"]
MODULES = {  # the tests that try its mutants
    "norms": ["lipschitz", "verified", "layers", "claims_03"],
    "operators": ["lipschitz", "layers", "switching", "claims_03"],
    "layers": ["layers", "lipschitz", "claims_05"],
    "expansive": ["switching", "claims_06"],
    "attacks": ["robustness", "claims_07"],
    "certificates/bounds": OF_CERTIFICATES,
    "certificates/radius": OF_CERTIFICATES,
    "certificates/rounding": OF_CERTIFICATES,
    "certificates/layer_rules": OF_CERTIFICATES,
    "certificates/torch_rules": OF_CERTIFICATES,
}
# With PYTHONPATH the helper would be imported as it is.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
SETTINGS = """[mutmut]
source_paths = chapter_utils
only_mutate = chapter_utils/{module}.py
also_copy =
{parts}
pytest_add_cli_args =
    -m
    not slow
    --hypothesis-profile=quick
    -k
    not 3_7 and not 3_8
    -p
    no:cacheprovider
pytest_add_cli_args_test_selection =
{tests}
"""


def without_decorators(text: str) -> str:
    """The same functions, each decorator called after its function."""
    lines = text.splitlines()
    functions = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.FunctionDef)]
    for node in sorted(functions, key=lambda node: -node.lineno):
        if not node.decorator_list:
            continue
        made = node.name
        for decorator in reversed(node.decorator_list):
            made = f"{ast.unparse(decorator)}({made})"
        lines.insert(node.end_lineno, f"{' ' * node.col_offset}{node.name} = {made}")
        first = node.decorator_list[0].lineno - 1
        del lines[first : node.lineno - 1]
    return "\n".join(lines) + "\n"


def indented(lines: list[str]) -> str:
    return "\n".join(f"    {line}" for line in lines)


def prepare(module: str) -> None:
    shutil.rmtree(COPY, ignore_errors=True)
    for part in PARTS:
        shutil.copytree(ROOT / part, COPY / part, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("requirements.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, COPY)
    changed = COPY / "chapter_utils" / f"{module}.py"
    changed.write_text(without_decorators(changed.read_text("utf-8")), "utf-8")
    tests = [f"tests/test_{name}.py" for name in MODULES[module]]
    parts = ["benchmarks", "chapter_checks", "notebooks", "requirements.txt", "source"]
    settings = SETTINGS.format(module=module, parts=indented(parts), tests=indented(tests))
    (COPY / "setup.cfg").write_text(settings, "utf-8")


def survivors(found: str) -> list[str]:
    """Names of mutants that no test noticed, from what `mutmut results` prints."""
    return re.findall(r"(\S+): (?:survived|no tests|suspicious)", found)


def run(*words: str) -> str:
    """What mutmut prints when it is called so, in the copy."""
    command = [sys.executable, "-m", "mutmut", *words]
    done = subprocess.run(command, cwd=COPY, env=ENVIRONMENT, capture_output=True, text=True)
    return done.stdout + done.stderr


def main() -> int:
    for module in sys.argv[1:] or MODULES:
        prepare(module)
        tried = run("run", "--max-children", "1")
        results = run("results", "--all", "true")
        names = survivors(results)
        mutants = len(re.findall(r"^ +\S+__mutmut_\d+: ", results, re.MULTILINE))
        if not mutants or "not checked" in results:
            print(tried[-3000:])
            return 1
        print(f"{module}: {mutants - len(names)} of {mutants} noticed", flush=True)
        for name in names:
            print(run("show", name), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
