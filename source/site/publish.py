"""Lessons, blank coursework and reference as web pages: build/site/index.html.

python source/site/publish.py          all live figures move: each lesson runs once for that
python source/site/publish.py --live   none moves, no lesson runs; --live 05: those of lesson 5
"""

import argparse
import base64
import hashlib
import html
import json
import re
import shutil
import sys
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from sphinx.cmd.build import build_main

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parents[1])]

import build  # noqa: E402
import frames  # noqa: E402
import references  # noqa: E402

LINKED = re.compile(r"\[((?:Section|Claim|Exercise) \d+\.\d+)\]\([^)]*\)")
NAMING = re.compile(r"^(> \*\*Claim|## Exercise|##) (\d+\.\d+)", re.MULTILINE)
KIND = {"> **Claim": "(claim", "## Exercise": "(exercise", "##": "(section"}
WHOLE_WAY = "05_live_path"  # the live figure of the front page
REPOSITORY = f"https://github.com/{build.REPOSITORY}"
BADGE = re.compile(r"\[!\[([^\]]+)\]\([^)]+\)\]")


def markdown(text: str) -> str:
    """With a label at each section, claim and exercise, and links to it wherever it is named."""

    def link(match: re.Match) -> str:
        is_claimed = match.string.endswith("> **", 0, match.start())
        if is_claimed or match[0] not in references.places():
            return match[0]
        return f"[{match[0]}](#{match[0].lower().replace(' ', '-')})"

    text = BADGE.sub(r"[\1]", text)  # badges are pictures from elsewhere: their words are enough
    text = LINKED.sub(r"\1", text)
    text = references.outside_code(text, lambda prose: references.NAMED.sub(link, prose))
    return NAMING.sub(lambda match: f"{KIND[match[1]]}-{match[2]})=\n{match[0]}", text)


def picture(out: NotebookNode, folder: Path) -> str:
    alt = html.escape(out.metadata["image/png"]["alt"], quote=True)
    png = base64.b64decode(out.data["image/png"])
    name = f"{hashlib.sha256(png).hexdigest()[:16]}.png"
    (folder / name).write_bytes(png)
    return f'<figure><img alt="{alt}" src="_static/pictures/{name}"></figure>'


def live_figure(text: str, name: str, folder: Path) -> str:
    """The place of a live figure, and the script with its frames; "" for a progress bar."""
    if not text.startswith("Live figure"):
        return ""
    place = f'<div class="live-figure" id="{name}"><p>{html.escape(text)}</p></div>'
    has_frames = (folder / f"{name}.js").exists()
    return place + f'<script src="_static/live/{name}.js" defer></script>' * has_frames


def code(cell: NotebookNode, number: str, static: Path) -> NotebookNode:
    """A code cell as myst-nb shows it: folded where Jupyter folds it, its pictures as HTML."""
    tags = cell.metadata.get("tags", [])
    new = nbformat.v4.new_code_cell(cell.source, metadata={"tags": []})
    if "setup" in tags or "cellView" in cell.metadata:  # a page cannot answer a guess
        new.metadata.tags.append("remove-cell")
    if cell.metadata.get("jupyter", {}).get("source_hidden"):
        new.metadata.tags.append("hide-input")
    if "reveal" in tags:
        new.metadata.tags.append("hide-output")
        new.metadata.mystnb = {"code_prompt_show": "What happens", "code_prompt_hide": "Close"}
    for out in cell.outputs:
        data = out.get("data", {})
        if "application/vnd.jupyter.widget-view+json" in data:
            name = f"{number}_{frames.displayed(cell.source)}"
            shown = live_figure(data["text/plain"], name, static / "live")
        elif "image/png" in data:
            shown = picture(out, static / "pictures")
        else:
            new.outputs.append(out)
            continue
        new.outputs.append(nbformat.v4.new_output("display_data", {"text/html": shown}))
    return new


def page(notebook: NotebookNode, number: str, static: Path) -> NotebookNode:
    cells = [
        code(cell, number, static)
        if cell.cell_type == "code"
        else nbformat.v4.new_markdown_cell(markdown(cell.source))
        for cell in notebook.cells
    ]
    return nbformat.v4.new_notebook(cells=cells, metadata=notebook.metadata)


def reference() -> str:
    """The public names of each module of the package, each with its lesson."""
    text = "# The helper package\n\nEach name with the first lesson that uses it.\n"
    for path in sorted((build.ROOT / "chapter_utils").rglob("*.py")):
        module = ".".join(path.relative_to(build.ROOT).with_suffix("").parts)
        if path.stem != "__init__":
            text += (
                f"\n## `{module}`\n\n```{{eval-rst}}\n.. automodule:: {module}\n   :members:\n```\n"
            )
    return text


def write_sources(folder: Path, moving: dict[str, dict[str, dict]]) -> None:
    """What Sphinx reads: pages with their pictures and frames."""
    static = folder / "static"
    shutil.copytree(HERE / "static", static)
    for name in ("pictures", "live"):
        (static / name).mkdir()
    for stem, figures in moving.items():
        for name, data in figures.items():
            call = f"liveFigure({json.dumps(f'{stem[:2]}_{name}')}, {json.dumps(data)});"
            (static / "live" / f"{stem[:2]}_{name}.js").write_text(call, encoding="utf-8")
    (folder / "coursework").mkdir()
    for path in notebooks():
        notebook = page(nbformat.read(path, as_version=4), path.stem[:2], static)
        nbformat.write(notebook, folder / path.relative_to(build.NOTEBOOKS))
    first = (HERE / "index.md").read_text("utf-8")
    place = live_figure(
        "Live figure with the step c. It moves in lesson 5.", WHOLE_WAY, static / "live"
    )
    (folder / "index.md").write_text(first.replace("WHOLE_WAY", place), encoding="utf-8")
    text = (build.ROOT / "chapter_checks" / "README.md").read_text("utf-8")
    text = re.sub(r"\]\((?!http|#)", f"]({REPOSITORY}/blob/main/chapter_checks/", text)
    (folder / "instructors.md").write_text(text, encoding="utf-8")
    (folder / "reference.md").write_text(reference(), encoding="utf-8")


def notebooks() -> list[Path]:
    return [*build.NOTEBOOKS.glob("*.ipynb"), *build.NOTEBOOKS.glob("coursework/*.ipynb")]


def publish(target: Path, moving: dict[str, dict[str, dict]]) -> int:
    """Write the site; 0 if Sphinx found nothing to warn about."""
    folder = target.with_name(target.name + "-source")
    for old in (folder, target):
        shutil.rmtree(old, ignore_errors=True)
    write_sources(folder, moving)
    settings = ["-c", str(HERE), "-D", f"html_static_path={folder / 'static'}"]
    keep = ["-d", str(folder / "read")]  # what Sphinx remembers is no part of the site
    if build_main(["-q", "-W", *settings, *keep, str(folder), str(target)]):
        return 1
    for path in notebooks():  # the download button gives the notebook itself
        shutil.copy(path, target / "_sources" / path.relative_to(build.NOTEBOOKS))
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    numbers = [path.stem[:2] for path in build.lessons()]
    parser.add_argument("--live", nargs="*", choices=numbers, default=numbers, metavar="NN")
    parser.add_argument("--output", type=Path, default=build.ROOT / "build" / "site")
    options = parser.parse_args()
    stems = [path.stem for path in build.lessons() if path.stem[:2] in options.live]
    return publish(options.output.resolve(), frames.of_lessons(stems))


if __name__ == "__main__":
    sys.exit(main())
