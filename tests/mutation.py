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
    "layers": ["layers", "claims_05"],
    "expansive": ["switching", "claims_06"],
    "attacks": ["robustness"],
    "certificates/bounds": OF_CERTIFICATES,
    "certificates/radius": OF_CERTIFICATES,
    "certificates/rounding": OF_CERTIFICATES,
    "certificates/layer_rules": OF_CERTIFICATES,
    "certificates/torch_rules": OF_CERTIFICATES,
}
# With PYTHONPATH the helper would be imported as it is.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
# Lines of mutants that no test can or need notice.
HARMLESS = set(
    """
return not L > torch.finfo(x.dtype).tiny
if not number < 1e5:
if not number <= 100001.0:
return x - 0 * L
return x + 1 * L
return W / self.operator.norm_estimate(W[:2]).clamp_min(1)
if norm < 1:
return W * ((1 - 3 * torch.finfo(W.dtype).eps) / norm)
if shrink > 1:
self.up = GradientField(expansive, )
if 0 <= wanted and c2 < 0.95 * wanted:
if 0 < wanted and c2 <= 0.95 * wanted:
stacklevel=3,
""".strip().splitlines()
)
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


def is_harmless(diff: str) -> bool:
    """Whether the lines that the mutant adds are among the HARMLESS ones."""
    added = {line[1:].strip() for line in diff.splitlines() if re.match(r"\+[^+]", line)}
    return bool(added & HARMLESS)


def main() -> int:
    scores = []
    for module in sys.argv[1:] or MODULES:
        prepare(module)
        tried = run("run", "--max-children", "1")
        results = run("results", "--all", "true")
        mutants = len(re.findall(r"^ +\S+__mutmut_\d+: ", results, re.MULTILINE))
        if not mutants or "not checked" in results:
            print(tried[-3000:])
            return 1
        diffs = [run("show", name) for name in survivors(results)]
        missed = [diff for diff in diffs if not is_harmless(diff)]
        harmless = len(diffs) - len(missed)
        noticed = mutants - len(diffs)
        scores.append(noticed / (mutants - harmless))
        print(f"{module}: {noticed} of {mutants} noticed, {harmless} harmless: {scores[-1]:.1%}")
        print(*missed, sep="\n", flush=True)
    return int(min(scores) < 0.95)


if __name__ == "__main__":
    sys.exit(main())
