"""Sphinx's settings: nothing runs, nothing is fetched, neither when building nor when reading."""

import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parents[1])]

import build  # noqa: E402

project = "Stable neural networks"
author = "see CITATION.cff"
language = "en"
extensions = ["myst_nb", "sphinx.ext.autodoc", "mathml"]
html_math_renderer = "mathml"
default_role = "literal"
autodoc_member_order = "bysource"
autodoc_typehints = "none"
python_use_unqualified_type_names = True
myst_enable_extensions = ["dollarmath"]
myst_update_mathjax = False
nb_execution_mode = "off"
nb_merge_streams = True
nb_code_prompt_show = "Show the code"
nb_code_prompt_hide = "Hide the code"
suppress_warnings = ["mystnb.unknown_mime_type"]

html_theme = "sphinx_book_theme"
html_title = project
html_css_files = ["site.css"]
html_js_files = ["live.js"]
html_show_search_summary = False  # it would be fetched, which a browser refuses to files
html_sourcelink_suffix = ""
html_context = {"default_mode": "auto"}  # light or dark as the reader's system is
html_theme_options = {
    "navbar_persistent": [],  # the search stands at the side
    "repository_url": f"https://github.com/{build.REPOSITORY}",
    "repository_branch": "main",
    "path_to_docs": "notebooks",
    "use_repository_button": True,
    "launch_buttons": {
        "binderhub_url": "https://mybinder.org",
        "colab_url": "https://colab.research.google.com",
        "notebook_interface": "jupyterlab",
    },
    "show_toc_level": 2,
}


LESSON = re.compile(r"\blesson (\d)\b")
STEMS = {path.stem[1]: path.stem for path in build.lessons()}


def lesson_link(match: re.Match) -> str:
    return f":doc:`{match[0]} <{STEMS[match[1]]}>`"


def first_lesson(name: str) -> str:
    """The lesson whose code first uses a function or class of the package; "" if none does."""
    last = name.rpartition(".")[2]
    for path in build.lessons():
        if re.search(rf"^[^#\n]*\b{last}\b", path.read_text("utf-8"), re.MULTILINE):
            return path.stem
    return ""


def document(app, what, name, obj, options, lines):
    """A docstring is plain text with `code`: | and * are themselves; it links to its lesson."""
    text = "\n".join(lines)
    parts = re.split(r"(`[^`]+`)", text)
    parts[::2] = [re.sub(r"([|*])", r"\\\1", part) for part in parts[::2]]
    parts[::2] = [LESSON.sub(lesson_link, part) for part in parts[::2]]
    parts[1::2] = [f"{part}\\ " for part in parts[1::2]]
    lines[:] = "".join(parts).split("\n")
    is_public = what in ("function", "class", "exception")
    if is_public and not LESSON.search(text) and (stem := first_lesson(name)):
        lines += ["", f":doc:`Lesson {int(stem[:2])} <{stem}>`", ""]


def setup(app):
    app.connect("autodoc-process-docstring", document)
