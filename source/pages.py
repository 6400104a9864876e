"""The lessons as web pages for reading, printing and screen readers.

One file each, without scripts, fonts or requests to anywhere. Formulas become MathML, which
browsers draw and read aloud themselves. What a page cannot do, moving a slider, it says.
"""

import html
import re
import unicodedata

from latex2mathml.converter import convert
from nbconvert.filters.highlight import Highlight2HTML
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbformat import NotebookNode
from pygments.formatters import HtmlFormatter

# Widths in characters, colours with a contrast of at least 4.5:1, nothing that scrolls sideways: it
# could not be printed.
STYLE = """
body { font: 17px/1.55 Georgia, 'DejaVu Serif', serif; color: #1a1a1a; }
body { max-width: 46rem; margin: 2rem auto; padding: 0 1rem; }
h1, h2, h3, h4 { font-family: Helvetica, Arial, 'DejaVu Sans', sans-serif; line-height: 1.25; }
h1, h2, h3, h4 { margin: 2.2em 0 .6em; }
h1 { margin-top: 0; }
a { color: #005a9c; }
nav ol { columns: 2; }
code, pre { font: 13px/1.45 Menlo, Consolas, 'DejaVu Sans Mono', monospace; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; margin: 0; padding: .6em .8em; }
.highlight { background: #fafafa; border-left: 3px solid #0072b2; margin: 1em 0 0; }
.printed { border-left: 3px solid #c8c8c8; }
figure { margin: 1em 0; }
img { max-width: 100%; height: auto; }
figcaption, .live { font-style: italic; color: #444; font-size: .9em; }
table { border-collapse: collapse; margin: 1em 0; font-size: .92em; }
th, td { border: 1px solid #bbb; padding: .3em .6em; text-align: left; }
math[display=block] { margin: 1em 0; }
blockquote { margin: 1em 0; padding-left: 1em; border-left: 3px solid #c8c8c8; }
@media print {
  body { font-size: 10.5pt; max-width: none; margin: 0; }
  code, pre { font-size: 8pt; }
  nav { display: none; }
  a { color: inherit; }
  figure, .highlight, tr, math { break-inside: avoid; }
  h1, h2, h3, h4 { break-after: avoid; }
}
"""


class Renderer(IPythonRenderer):
    """Markdown as in Jupyter, with formulas as MathML and headings that can be linked to."""

    def heading(self, text: str, level: int, **attributes) -> str:
        return f'<h{level} id="{anchor(text)}">{text}</h{level}>\n'

    def block_math(self, body: str) -> str:
        return mathml(body, "block")

    def inline_math(self, body: str) -> str:
        return mathml(body, "inline")


def mathml(tex: str, display: str) -> str:
    """Browsers know the characters 𝟙 and ℝ, but no longer the attribute that makes them of 1, R."""
    return re.sub(
        r'<(m[in]) mathvariant="double-struck">(\w)<',
        lambda found: f"<{found[1]}>{double_struck(found[2])}<",
        convert(tex.replace(r"\_", "_"), display=display),
    )


def double_struck(character: str) -> str:
    full_name = unicodedata.name(character)  # LATIN CAPITAL LETTER R, DIGIT ONE
    name = full_name.replace("LATIN ", "").replace("LETTER ", "")
    try:
        return unicodedata.lookup(f"DOUBLE-STRUCK {name}")  # ℝ is older than its alphabet
    except KeyError:
        return unicodedata.lookup(f"MATHEMATICAL DOUBLE-STRUCK {name}")


def anchor(heading: str) -> str:
    plain = html.unescape(re.sub(r"<annotation.*?</annotation>|<[^>]+>", "", heading))
    return re.sub(r"\W+", "-", plain).strip("-").lower()


def document(title: str, body: str) -> str:
    code_colours = HtmlFormatter(style="default").get_style_defs(".highlight")
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{html.escape(title)}</title>
<style>{code_colours}{STYLE}</style>
</head>
<body>
{body}
</body>
</html>
"""


def title_of(notebook: NotebookNode) -> str:
    return re.match(r"# (.+)", notebook.cells[0].source)[1]


def output(out: NotebookNode) -> str:
    """As HTML: no progress bars, and for a live figure the sentence that stands for it."""
    if out.output_type == "stream":
        return printed(out.text)
    data = out.data
    if "application/vnd.jupyter.widget-view+json" in data:
        text = data["text/plain"]
        return f'<p class="live">{html.escape(text)}</p>' if text.startswith("Live figure") else ""
    if "image/png" in data:
        alt = html.escape(out.metadata["image/png"]["alt"], quote=True)
        source = f"data:image/png;base64,{data['image/png'].strip()}"
        return f'<figure><img alt="{alt}" src="{source}"></figure>'
    return data.get("text/html") or printed(data["text/plain"])


def printed(text: str) -> str:
    return f'<pre class="printed">{html.escape(text)}</pre>'


def lesson(notebook: NotebookNode) -> str:
    """An executed lesson as a page."""
    markdown = MarkdownWithMath(renderer=Renderer(escape=False))
    highlight = Highlight2HTML()
    body = []
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            # Badges are pictures from elsewhere: their words are enough.
            text = re.sub(r"\[!\[([^\]]+)\]\([^)]+\)\]", r"[\1]", cell.source)
            text = re.sub(r"\]\((\d\d_\w+)\.ipynb(#[^)]*)?\)", r"](\1.html)", text)
            text = re.sub(r"\[([^\]]+)\]\(coursework/[^)]+\)", r"\1", text)  # needs Jupyter
            body.append(markdown.render(text))
        elif "setup" not in cell.metadata.get("tags", []) and "cellView" not in cell.metadata:
            body.append(highlight(cell.source))
            shown = map(output, cell.outputs)
            if "reveal" in cell.metadata.get("tags", []):  # the answer to a prediction
                shown = ["<details><summary>What happens</summary>", *shown, "</details>"]
            body += shown
    text = "\n".join(body)
    start, rest = text.split("</h1>", 1)
    return document(title_of(notebook), f"<main>{start}</h1>{contents(text)}{rest}</main>")


def contents(text: str) -> str:
    """Links to the sections of a page."""
    sections = re.findall(r'<h2 id="([^"]+)">(.*?)</h2>', text)
    items = "".join(f'<li><a href="#{name}">{heading}</a></li>' for name, heading in sections)
    lessons = '<p><a href="index.html">All lessons</a></p>'
    return f'<nav aria-label="contents">{lessons}<ol>{items}</ol></nav>'


def index(titles: dict[str, str]) -> str:
    """The page that links the lessons, given their titles by file name."""
    items = ""
    for name, title in titles.items():
        subject = title.split(". ", 1)[-1]
        items += f'<li><a href="{name}.html">{html.escape(subject)}</a></li>'
    heading = "<h1>Stable neural networks: the lessons</h1>"
    use = "<p>For reading and printing. The sliders need Jupyter.</p>"
    first = min(int(name[:2]) for name in titles)  # the page of symbols is number 0
    body = f'<main>{heading}{use}<ol start="{first}">{items}</ol></main>'
    return document("Stable neural networks", body)
