"""What the site makes of a notebook and of a live figure. (In the browser: test_pages.py.)"""

import base64
import io
import itertools
import json
import math
from types import SimpleNamespace

import ipywidgets
import nbformat
import numpy as np
import pytest
from docutils import nodes
from matplotlib.figure import Figure
from PIL import Image
from sphinx.errors import ExtensionError

import frames
import pages
from chapter_utils import widgets


def test_what_is_named_is_labelled_and_linked_wherever_it_is_named():
    for text, made in (
        ("## 5.2 A title", "(section-5.2)=\n## 5.2 A title"),
        ("## Exercise 5.2: A title", "(exercise-5.2)=\n## Exercise 5.2: A title"),
        ("> **Claim 5.2 (x).** Y", "(claim-5.2)=\n> **[Claim 5.2](#claim-5.2) (x).** Y"),
        ("by Claim 5.2", "by [Claim 5.2](#claim-5.2)"),
        ("[Claim 5.2](05_x.ipynb#5.2-A)", "[Claim 5.2](#claim-5.2)"),
        ("[Section 2.1](../02_x.ipynb)", "[Section 2.1](#section-2.1)"),
        ("`Claim 5.2`", "`Claim 5.2`"),
        ("<summary>Claim 5.2: $x$</summary>", "<summary>\n\nClaim 5.2: $x$\n\n</summary>"),
    ):
        assert pages.markdown(text) == made


def cell_with(source, data, **metadata):
    cell = nbformat.v4.new_code_cell(source)
    cell.outputs = [nbformat.v4.new_output("display_data", data, metadata=metadata)]
    return cell


def shown(cell, folder):
    pages.show(cell, "05", folder)
    (out,) = cell.outputs
    return out.data["text/html"]


def test_a_picture_has_its_description(tmp_path):
    cell = cell_with("f()", {"image/png": "cGl4ZWxz\n"}, **{"image/png": {"alt": 'a < b & "c"'}})
    assert shown(cell, tmp_path) == (
        '<figure><img alt="a &lt; b &amp; &quot;c&quot;" src="data:image/png;base64,cGl4ZWxz">'
        "</figure>"
    )


def test_a_live_figure_has_its_frames_if_there_are_any_and_a_progress_bar_has_no_place(tmp_path):
    live = {pages.WIDGET: {}, "text/plain": "Live figure with c."}
    still = shown(cell_with("x = 1\nlive_x", live), tmp_path)
    assert 'id="05_live_x"' in still and "script" not in still
    (tmp_path / "05_live_x.js").write_text("")
    assert 'src="_static/05_live_x.js"' in shown(cell_with("x = 1\nlive_x", live), tmp_path)
    bar = {pages.WIDGET: {}, "text/plain": "0%|  |"}
    assert shown(cell_with("fit()", bar), tmp_path) == ""


def test_a_formula_is_mathml_that_browsers_know():
    for node, start in (
        (nodes.math("", r"\mathbb R^n, \mathbb 1"), "<math>"),
        (nodes.math("", r"\frac{a}{b} + \frac{a}{b}" * 3), '<span class="long formula"><math>'),
        (nodes.math_block("", r"x < \text{a “b”}"), '<div class="formula" tabindex="0"'),
    ):
        writer = SimpleNamespace(body=[])
        with pytest.raises(nodes.SkipNode):
            pages.formula(writer, node)
        (written,) = writer.body
        assert written.startswith(start) and "double-struck" not in written
    writer = SimpleNamespace(body=[])
    with pytest.raises(pages.math_core.LatexError):
        pages.formula(writer, nodes.math("", r"\nosuchcommand"))


def test_a_page_that_is_too_large_with_its_frames_fails(tmp_path, monkeypatch):
    (tmp_path / "x.js").write_text("0123456789" * 5)
    (tmp_path / "page.html").write_text('<script src="x.js" defer></script>')
    app = SimpleNamespace(outdir=tmp_path)
    monkeypatch.setattr(pages, "LARGEST", 84)
    pages.weigh(app, None)
    monkeypatch.setattr(pages, "LARGEST", 83)
    with pytest.raises(ExtensionError, match=r"page\.html has 84 bytes; at most 83"):
        pages.weigh(app, None)


def slider(**kwargs):
    return ipywidgets.FloatSlider(description="s", **kwargs)


def test_a_thin_slider_keeps_its_ends_and_its_first_value():
    for number, kept in itertools.product((5, 12, 101, 300), (0, 1, 37, 50, 99, 100)):
        control = ipywidgets.IntSlider(min=0, max=100, value=kept)
        thin = frames.values_of(control, number)
        assert {0, kept, 100} <= set(thin) and thin == sorted(set(thin))
        assert len(thin) == min(number, 101) and {type(value) for value in thin} == {int}
    assert frames.values_of(control, 101) == list(range(101))
    assert frames.values_of(slider(min=0, max=1, step=0.3, value=0.5), 9) == [0, 0.3, 0.5, 0.6, 0.9]
    assert frames.values_of(slider(min=0, max=0.1, step=0.1, value=0.1), 9) == [0, 0.1]


def test_the_grid_is_as_fine_as_it_may_be():
    controls = {
        "kind": ipywidgets.Dropdown(options=["a", "b"], value="b"),
        "x": slider(min=0, max=1, step=0.1, value=0.3),
        "n": ipywidgets.IntSlider(min=1, max=3, value=2),
        "flag": ipywidgets.Checkbox(value=False),
    }
    full = frames.grid(controls, 1000)
    assert full["kind"] == ["a", "b"] and full["n"] == [1, 2, 3] and full["flag"] == [False, True]
    assert full["x"] == [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1]
    thin = frames.grid(controls, 100)
    assert 0.3 in thin["x"] and len(thin["x"]) == 8 and thin["n"] == [1, 2, 3]
    few = frames.grid(controls, 50)
    assert few["kind"] == ["b"] and len(few["x"]) == 8 and math.prod(map(len, few.values())) <= 50
    assert list(few) == list(controls), "the frames are in the order of the controls"


@pytest.mark.parametrize(
    "text, name",
    [
        ("a = 1\nlive_a", "live_a"),
        ("live_a.still(c=1)", ""),
        ("live_a\nb", ""),
        ("a", ""),
        ("", ""),
    ],
)
def test_a_cell_displays_the_live_figure_it_ends_with(text, name):
    assert frames.displayed(text) == name


def test_frames_are_the_pictures_and_sentences_of_the_live_figure_itself():
    figure = Figure(figsize=(2, 1), dpi=50)
    text = figure.text(0.1, 0.1, "", fontsize=20)

    def draw(a, b):
        text.set_text(f"{a:g}{b}")
        return f"{a:g} and {b}"

    live = widgets.LiveFigure(
        figure,
        draw,
        a=slider(min=0, max=1, step=0.5, value=0.5),
        b=ipywidgets.Dropdown(options=["u", "v"], value="v", description="b, or"),
    )
    data = frames.exported(live, 10**6)
    assert [c["values"] for c in data["controls"]] == [["0", "0.5", "1"], ["u", "v"]]
    assert [c["label"] for c in data["controls"]] == ["s", "b, or"]
    assert [c["start"] for c in data["controls"]] == [1, 1] and data["note"] == ""
    assert [s for _, s in data["frames"]] == [
        f"{a} and {b}" for a in ("0", "0.5", "1") for b in "uv"
    ]
    draw(1, "u")
    figure.canvas.draw()
    drawn = np.asarray(figure.canvas.buffer_rgba())[..., :3].astype(int)
    url = data["frames"][4][0]
    stored = Image.open(io.BytesIO(base64.b64decode(url.removeprefix("data:image/webp;base64,"))))
    assert stored.size == (data["width"], data["height"]) == (100, 50)
    assert np.abs(np.asarray(stored.convert("RGB")).astype(int) - drawn).mean() < 2
    assert len({url for url, _ in data["frames"]}) == 6
    few = frames.exported(live, 4 * len(data["frames"][3][0]))
    assert len(few["frames"]) == 3 and few["note"].startswith("Here b, or = v: ")


@pytest.mark.parametrize("share", [1, 0.3, 0.1])
def test_frames_fit_into_their_share_however_large_they_are(monkeypatch, share):
    """Nothing is drawn: the frames grow hundredfold along the slider, which the first one hides."""

    def encoded(live, values):
        return "x" * round(1000 * 100 ** values["a"]), "one sentence"

    monkeypatch.setattr(frames, "encoded", encoded)
    controls = {
        "a": slider(min=0, max=1, step=0.001, value=0),
        "b": ipywidgets.Dropdown(options=["u", "v"], description="b"),
    }
    live = SimpleNamespace(
        controls=controls,
        box=SimpleNamespace(children=[*controls.values()]),
        figure=SimpleNamespace(canvas=SimpleNamespace(get_width_height=lambda: (2, 1))),
    )
    size = round(share * 2 * 101 * 22_000)  # 202 frames of about the mean length
    data = json.dumps(frames.exported(live, size)["frames"])
    assert size / 3 < len(data) < 1.01 * size
    with pytest.raises(ValueError, match="room for one frame at least"):
        frames.exported(live, 500)
