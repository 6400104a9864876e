"""Every lesson in a real JupyterLab: it runs, and its live figures follow keyboard and mouse."""

import pytest

from lesson import ROOT

PATIENCE = 20_000  # milliseconds, for a picture to follow its control
LESSONS = sorted(path.stem for path in (ROOT / "notebooks").glob("0[1-9]_*.ipynb"))


def picture(box) -> tuple[str, str]:
    """Pixels and description of a live figure, of one moment."""
    src, alt, text = box.locator(".widget-html").evaluate(
        """view => {
            const img = view.querySelector('img');
            return [img.src, img.alt, view.querySelector('p').innerText];
        }"""
    )
    assert text == alt, "the sentence below the picture is not its description"
    return src, alt


def changed(notebook, box, before) -> None:
    described(box, before[1], "!==")
    notebook.idle()  # or the kernel's echo of an earlier value would undo the next key
    box.page.wait_for_timeout(300)  # the page takes in the last echoes after the kernel is done
    notebook.idle()
    assert picture(box)[0] != before[0], "the description changed, but not the picture"


def came_back(_, box, before) -> None:
    described(box, before[1], "===")  # pictures of values passed on the way may arrive first
    assert picture(box) == before, (
        "back at the first values, the picture or its description is another one"
    )


def described(box, description: str, relation: str) -> None:
    """Wait until the description is (===) or is not (!==) the given one."""
    condition = f"([box, given]) => box.querySelector('.widget-html img').alt {relation} given"
    box.page.wait_for_function(
        condition, arg=[box.element_handle(), description], timeout=PATIENCE, polling=30
    )


def move_by_keyboard(notebook, box) -> int:
    """Every control there and back, by its keys; each has a name that a screen reader can say."""
    first, moved = picture(box), 0
    for choice in box.locator("select").all():
        assert choice.evaluate("e => e.labels[0].innerText.trim()")
        there, back = (
            ("ArrowDown", "ArrowUp")
            if choice.evaluate("e => e.selectedIndex + 1 < e.options.length")
            else ("ArrowUp", "ArrowDown")
        )
        for key, state in ((there, changed), (back, came_back)):
            # Space opens the list; closed, JupyterLab would take the arrow keys for itself
            # (ipywidgets issue 3912).
            choice.press("Space")
            notebook.page.keyboard.press(key)
            notebook.page.keyboard.press("Enter")
            state(notebook, box, first)
        moved += 1
    for tick in box.locator("input[type=checkbox]").all():
        assert tick.evaluate("e => e.closest('label').innerText.trim()")
        for state in (changed, came_back):
            tick.press("Space")
            state(notebook, box, first)
        moved += 1
    for slider in box.locator("[role=slider]").all():
        field = slider.locator("xpath=ancestor::*[contains(@class, 'widget-hbox')][1]").locator(
            "input[type=number]"
        )
        assert field.evaluate("e => e.labels[0].innerText.trim()"), (
            "the number field names its slider"
        )
        start, value = slider.get_attribute("aria-valuetext"), field.input_value()
        upward = float(start) < float(slider.get_attribute("aria-valuemax"))
        for _ in range(3):
            slider.press("ArrowRight" if upward else "ArrowLeft")
        changed(notebook, box, first)
        assert float(field.input_value()) == pytest.approx(
            float(slider.get_attribute("aria-valuetext"))
        )
        field.fill(value)
        field.press("Enter")
        came_back(notebook, box, first)
        assert slider.get_attribute("aria-valuetext") == start
        field.press("ArrowUp" if upward else "ArrowDown")
        changed(notebook, box, first)
        field.press("ArrowDown" if upward else "ArrowUp")
        came_back(notebook, box, first)
        moved += 2
    return moved


def drag(notebook, box, slider) -> None:
    """Drag a handle to the other part of its track and type the first value again."""
    first = picture(box)
    row = slider.locator("xpath=ancestor::*[contains(@class, 'widget-hbox')][1]")
    value = row.locator("input[type=number]").input_value()
    slider.scroll_into_view_if_needed()
    handle, track = slider.bounding_box(), row.locator(".noUi-base").bounding_box()
    x, y = handle["x"] + handle["width"] / 2, handle["y"] + handle["height"] / 2
    goal = track["x"] + track["width"] * (0.25 if x > track["x"] + track["width"] / 2 else 0.75)
    page = notebook.page
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(goal, y, steps=6)
    page.mouse.up()
    changed(notebook, box, first)
    row.locator("input[type=number]").fill(value)
    row.locator("input[type=number]").press("Enter")
    came_back(notebook, box, first)


@pytest.mark.parametrize("stem", LESSONS)
def test_lesson(opened, stem):
    notebook = opened(stem)
    assert notebook.ran(), notebook.errors()
    assert notebook.errors() == []
    closed = notebook.page.locator(".jp-OutputPlaceholder")
    assert closed.count() == 0, "running a cell opens the answer to a prediction"
    notebook.screenshot()
    boxes = notebook.live_figures()
    assert boxes and sum(move_by_keyboard(notebook, box) for box in boxes) >= len(boxes)
    sliders = [(box, slider) for box in boxes for slider in box.locator("[role=slider]").all()]
    for box, slider in sliders:
        drag(notebook, box, slider)
    assert sliders and notebook.errors() == []
    notebook.close()
