"""What Sphinx, which knows notebooks by myst-nb, is told about ours.

Where sections, claims and exercises are; what is folded; formulas; live figures; the reference.
"""

import html
import re
from pathlib import Path

import math_core
import nbformat
from docutils import nodes
from nbformat import NotebookNode
from sphinx.errors import ExtensionError

import build
import frames
import references

LARGEST = 5_000_000  # bytes of a page with its pictures and frames
WIDGET = "application/vnd.jupyter.widget-view+json"
LINKED = re.compile(r"\[((?:Section|Claim|Exercise) \d+\.\d+)\]\([^)]*\)")
NAMING = re.compile(r"^(?:> \*\*|## )(?:(Claim|Exercise) )?(\d+\.\d+)", re.MULTILINE)
LESSON = re.compile(r"\blesson (\d)\b")
STEMS = {path.stem[1]: path.stem for path in build.lessons()}
MATHML = math_core.LatexToMathML(fancy_error=False)


def markdown(text: str) -> str:
    """With a label at each section, claim and exercise, and links to it wherever it is named."""

    def label(match: re.Match) -> str:
        return f"({(match[1] or 'Section').lower()}-{match[2]})=\n{match[0]}"

    def link(match: re.Match) -> str:
        return f"[{match[0]}](#{match[0].lower().replace(' ', '-')})"

    text = NAMING.sub(label, LINKED.sub(r"\1", text))
    text = re.sub("(?<=<summary>)(.*?)(?=</summary>)", r"\n\n\1\n\n", text)  # it may have formulas
    return references.outside_code(text, lambda prose: references.NAMED.sub(link, prose))


def live_figure(text: str, name: str, folder: Path) -> str:
    """The place of a live figure, and the script with its frames; "" for a progress bar."""
    if not text.startswith("Live figure"):
        return ""
    place = f'<div class="live-figure" id="{name}"><p>{html.escape(text)}</p></div>'
    has_frames = (folder / f"{name}.js").exists()
    return place + f'<script src="_static/{name}.js" defer></script>' * has_frames


def show(cell: NotebookNode, number: str, folder: Path) -> None:
    """Prepare a code cell for myst-nb: folded as in Jupyter, its pictures with their words."""
    tags = {
        "remove-cell": "setup" in cell.metadata.get("tags", []) or "cellView" in cell.metadata,
        "hide-input": cell.metadata.get("jupyter", {}).get("source_hidden"),
        "hide-output": "reveal" in cell.metadata.get("tags", []),
    }
    cell.metadata = NotebookNode(tags=[tag for tag, is_set in tags.items() if is_set])
    if tags["hide-output"]:
        cell.metadata.mystnb = {"code_prompt_show": "What happens", "code_prompt_hide": "Close"}
    for out in cell.outputs:
        data = out.get("data", {})
        if WIDGET in data:
            name = f"{number}_{frames.displayed(cell.source)}"
            out.data = {"text/html": live_figure(data["text/plain"], name, folder)}
        elif "image/png" in data:
            words = html.escape(out.metadata["image/png"]["alt"], quote=True)
            source = f"data:image/png;base64,{data['image/png'].strip()}"
            out.data = {"text/html": f'<figure><img alt="{words}" src="{source}"></figure>'}


def reference() -> str:
    """The public names of each module of the package."""
    paths = sorted((build.ROOT / "chapter_utils").rglob("[!_]*.py"))
    names = [".".join(path.relative_to(build.ROOT).with_suffix("").parts) for path in paths]
    module = "## `{0}`\n\n```{{eval-rst}}\n.. automodule:: {0}\n   :members:\n```\n"
    return "\n".join(module.format(name) for name in names)


def read(app, name: str, source: list[str]) -> None:
    """Change the text of a page before Sphinx reads it."""
    folder = Path(app.srcdir) / "live"
    if name == "reference":
        source[0] += reference()
    elif name == "index":
        words = "Live figure with the step c. It moves in lesson 5."
        source[0] = source[0].replace("WHOLE_WAY", live_figure(words, "05_live_path", folder))
    elif name == "instructors":
        blob = f"https://github.com/{build.REPOSITORY}/blob/main/chapter_checks/"
        source[0] = re.sub(r"\]\((?!http|#)", f"]({blob}", source[0])
    else:
        notebook = nbformat.reads(source[0], as_version=4)
        for cell in notebook.cells:
            if cell.cell_type == "code":
                show(cell, name[:2], folder)
            else:
                cell.source = markdown(cell.source)
        source[0] = nbformat.writes(notebook)


def document(app, what, name, obj, options, lines) -> None:
    """A docstring is plain text with `code`: | and * are themselves; it links to its lesson."""

    def mark(match: re.Match) -> str:
        return f"{match[0]}\\ " if match[0].startswith("`") else f"\\{match[0]}"

    text = re.sub("`[^`]+`|[|*]", mark, "\n".join(lines))
    text = LESSON.sub(lambda match: f":doc:`{match[0]} <{STEMS[match[1]]}>`", text)
    if what in ("function", "class", "exception") and not LESSON.search(text):
        text += first_lesson(name.rpartition(".")[2])
    lines[:] = text.split("\n")


def first_lesson(name: str) -> str:
    """A link to the lesson whose code first uses a name of the package; "" if none does."""
    for path in build.lessons():
        if re.search(rf"^[^#\n]*\b{name}\b", path.read_text("utf-8"), re.MULTILINE):
            return f"\n\n:doc:`Lesson {int(path.stem[:2])} <{path.stem}>`\n"
    return ""


def formula(writer, node) -> None:
    """As MathML, which browsers draw and read aloud themselves, without scripts.

    A formula of its own line scrolls if it is wider than a phone, and keys reach it.
    """
    tex = node.astext()
    is_block = isinstance(node, nodes.math_block)
    shown = MATHML.convert_with_local_state(tex, displaystyle=is_block)
    if is_block:
        words = html.escape(f"Formula: {tex}", quote=True)
        shown = f'<div class="formula" tabindex="0" role="group" aria-label="{words}">{shown}</div>'
    elif len(tex) > 25:  # site.css
        shown = f'<span class="long formula">{shown}</span>'
    writer.body.append(shown)
    raise nodes.SkipNode


def weigh(app, error) -> None:
    """No page with its pictures and frames is too large for a phone on a train."""
    for page in Path(app.outdir).rglob("*.html"):
        live = re.findall(r'<script src="(\S+)" defer>', page.read_text("utf-8"))
        size = sum(path.stat().st_size for path in [page, *(page.parent / name for name in live)])
        if size > LARGEST:
            raise ExtensionError(f"{page.name} has {size} bytes; at most {LARGEST} are allowed")


def setup(app) -> None:
    app.config.html_static_path.append(str(Path(app.srcdir) / "live"))
    app.add_html_math_renderer("mathml", (formula, None), (formula, None))
    app.connect("source-read", read)
    app.connect("autodoc-process-docstring", document)
    app.connect("build-finished", weigh)
