"""What the site makes of a notebook and of a live figure. (In the browser: test_pages.py.)"""

import base64
import io
import itertools
import math

import ipywidgets
import nbformat
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

import frames
import publish
from chapter_utils import widgets


def test_what_is_named_is_labelled_and_linked_wherever_it_is_named():
    for text, made in (
        ("## 5.2 A title", "(section-5.2)=\n## 5.2 A title"),
        ("## Exercise 5.2: A title", "(exercise-5.2)=\n## Exercise 5.2: A title"),
        ("> **Claim 5.2 (x).** Y", "(claim-5.2)=\n> **Claim 5.2 (x).** Y"),
        ("by Claim 5.2", "by [Claim 5.2](#claim-5.2)"),
        ("[Claim 5.2](05_x.ipynb#5.2-A)", "[Claim 5.2](#claim-5.2)"),
        ("[Section 2.1](../02_x.ipynb)", "[Section 2.1](#section-2.1)"),
        ("Claim 77.1, `Claim 5.2`", "Claim 77.1, `Claim 5.2`"),
        ("[![Open](https://a.b/c.svg)](https://d.e)", "[Open](https://d.e)"),
    ):
        assert publish.markdown(text) == made


def cell_with(source, data, **metadata):
    cell = nbformat.v4.new_code_cell(source)
    cell.outputs = [nbformat.v4.new_output("display_data", data, metadata=metadata)]
    return cell


@pytest.fixture
def static(tmp_path):
    for name in ("pictures", "live"):
        (tmp_path / name).mkdir()
    return tmp_path


def test_a_picture_is_a_file_with_its_description(static):
    png = base64.b64encode(b"pixels").decode()
    cell = cell_with("f()", {"image/png": png}, **{"image/png": {"alt": 'a < b & "c"'}})
    (out,) = publish.code(cell, "05", static).outputs
    (file,) = (static / "pictures").iterdir()
    assert file.read_bytes() == b"pixels"
    assert out.data["text/html"] == (
        f'<figure><img alt="a &lt; b &amp; &quot;c&quot;" src="_static/pictures/{file.name}">'
        "</figure>"
    )


def test_a_live_figure_has_its_frames_if_there_are_any_and_a_progress_bar_has_no_place(static):
    kind = "application/vnd.jupyter.widget-view+json"
    cell = cell_with("x = 1\nlive_x", {kind: {}, "text/plain": "Live figure with c."})
    (out,) = publish.code(cell, "05", static).outputs
    assert 'id="05_live_x"' in out.data["text/html"] and "script" not in out.data["text/html"]
    (static / "live" / "05_live_x.js").write_text("")
    (out,) = publish.code(cell, "05", static).outputs
    assert 'src="_static/live/05_live_x.js"' in out.data["text/html"]
    bar = cell_with("fit()", {kind: {}, "text/plain": "0%|  |"})
    assert [out.data["text/html"] for out in publish.code(bar, "05", static).outputs] == [""]


def slider(**kwargs):
    return ipywidgets.FloatSlider(description="s", **kwargs)


def test_a_thin_slider_keeps_its_ends_and_its_first_value():
    values = list(range(101))
    for number, kept in itertools.product((3, 5, 12, 101, 300), (0, 1, 37, 50, 99, 100)):
        thin = frames.thinned(values, number, kept)
        assert {0, kept, 100} <= set(thin) and thin == sorted(set(thin))
        assert len(thin) == min(number, 101)
    assert frames.thinned(values, 300, 3) == values


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
    assert few["flag"] == [False] and len(few["x"]) == 8 and math.prod(map(len, few.values())) <= 50
    assert list(few) == list(controls), "the frames are in the order of the controls"


@pytest.mark.parametrize("text, name", [("a = 1\nlive", "live"), ("live.x", ""), ("", "")])
def test_a_cell_displays_the_name_it_ends_with(text, name):
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
        b=ipywidgets.Dropdown(options=["u", "v"], value="v", description="b"),
    )
    data = frames.exported(live, 10**6)
    assert [c["values"] for c in data["controls"]] == [["0", "0.5", "1"], ["u", "v"]]
    assert [c["label"] for c in data["controls"]] == ["s", "b"]
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
    assert len(few["frames"]) == 3 and few["note"].startswith("Here b = v: ")
