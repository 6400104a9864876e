"""Formulas as MathML: browsers draw them and read them aloud themselves, without scripts."""

import html
import re
import unicodedata

from docutils import nodes
from latex2mathml.converter import convert


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


def visit_inline(writer, node):
    tex = node.astext()
    is_long = len(tex) > 25  # on a phone it may be wider than the window: site.css
    formula = mathml(tex, "inline")
    writer.body.append(f'<span class="long formula">{formula}</span>' if is_long else formula)
    raise nodes.SkipNode


def visit_block(writer, node):
    """A formula of its own line; one that is wider than a phone scrolls, and keys reach it."""
    tex = node.astext()
    label = html.escape(f"Formula: {tex}", quote=True)
    formula = mathml(tex, "block")
    writer.body.append(f'<div class="formula" tabindex="0" role="group" aria-label="{label}">')
    writer.body.append(f"{formula}</div>")
    raise nodes.SkipNode


def setup(app):
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
