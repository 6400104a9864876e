"""Sphinx's settings: nothing runs, nothing is fetched, neither when building nor when reading."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parents[1])]

import build  # noqa: E402

project = "Stable neural networks"
author = "the authors named in CITATION.cff"
language = "en"
extensions = ["myst_nb", "sphinx.ext.autodoc", "pages"]
html_math_renderer = "mathml"
default_role = "literal"
autodoc_member_order = "bysource"
autodoc_typehints = "none"
myst_enable_extensions = ["dollarmath"]
myst_update_mathjax = False
nb_execution_mode = "off"
nb_merge_streams = True
nb_code_prompt_show = "Show the code"
nb_code_prompt_hide = "Hide the code"
suppress_warnings = ["mystnb.unknown_mime_type"]

html_theme = "sphinx_book_theme"
html_title = project
html_static_path = ["static"]
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
