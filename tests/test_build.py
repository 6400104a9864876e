"""What the build makes of a lesson: blanks, links, the time."""

import jupytext
import nbformat
import pytest

import build
import pages
import reading_time
import references

LESSON = """\
# %% [markdown]
# # 99. A lesson
#
# **Time:** MINUTES.

# %%
# a comment
x = 1

# %% [markdown]
# ## 99.1 First
#
# **Claim 99.1 (one).** Two [links](to/a_long_place.ipynb) here.
#
# <details><summary>folded away</summary>
#
# many words that nobody must read
#
# </details>
#
# ### ★ Later
#
# **Claim 99.2 (two).** Not counted.

# %%
### BEGIN SOLUTION
### GIVEN y = ...
y = 2
### END SOLUTION

your_turn("99.A")

# %% [markdown]
# ## 99.2 Second
#
# **Predict first.** What?

# %%
my_guess = ...

# %% tags=["reveal"]
print(x)
reply(my_guess, 7, "Because.")

# %%
live_x

# %% [markdown]
# ## References
#
# * a paper
"""


@pytest.fixture
def lesson(tmp_path):
    path = tmp_path / "99_lesson.py"
    path.write_text(LESSON)
    return path


def test_the_core_path_is_counted_and_nothing_else(lesson):
    cells = jupytext.read(lesson, fmt="py:percent").cells
    read = "# 99. A lesson **Time:** MINUTES. ## 99.1 First **Claim 99.1 (one).** Two [links] here."
    read += " ## 99.2 Second **Predict first.** What?"
    assert reading_time.words(cells) == len(read.split())
    assert reading_time.counts(cells) == {
        "prediction": 1,
        "live figure": 1,
        "your turn": 0,  # it stands under the star
        "claim": 1,
    }
    assert reading_time.minutes(cells) == 5  # 2 + 2 + 1 and a few words
    code = 250 * "x = 1\n"
    cells[1].source += code
    assert reading_time.minutes(cells) == 15  # 10 more
    cells[1].metadata["jupyter"] = {"source_hidden": True}
    assert reading_time.minutes(cells) == 5
    cells[2].source = cells[2].source.replace("★ ", "")
    assert reading_time.counts(cells)["your turn"] == 1 and reading_time.minutes(cells) == 10


def test_lines_of_code_that_are_seen(lesson):
    notebook = build.generate(lesson)
    lines = 2 + 1 + 1 + 1 + 1  # x; y and its check; my_guess; print; live_x
    assert reading_time.code_lines(notebook.cells) == lines
    notebook.cells[1].metadata["jupyter"] = {"source_hidden": True}
    assert reading_time.code_lines(notebook.cells) == lines - 1


def test_a_turn_is_blank_with_its_solution_folded_below(lesson):
    cells = build.generate(lesson).cells
    (place,) = (k for k, cell in enumerate(cells) if "your_turn(" in cell.source)
    assert cells[place].source == 'y = ...\n\nyour_turn("99.A")'
    assert cells[place + 1].cell_type == "markdown" and "y = 2" in cells[place + 1].source
    assert "your_turn(" not in cells[place + 1].source
    assert cells[place + 1].source.startswith("<details><summary>One solution of “Your turn 99.A”")
    assert len({cell.id for cell in cells}) == len(cells)
    lesson.write_text(LESSON.replace('your_turn("99.A")', "z = 1"))
    with pytest.raises(ValueError, match="must end with your_turn"):
        build.generate(lesson)


def test_the_answer_to_a_prediction_is_closed(lesson, tmp_path):
    notebook = build.generate(lesson)
    closed = [c.source for c in notebook.cells if c.metadata.get("jupyter", {}) != {}]
    assert closed == ["print(x)", '# @title And your guess?\nreply(my_guess, 7, "Because.")']
    (answer,) = (c for c in notebook.cells if c.source == "print(x)")
    answer.outputs = [nbformat.v4.new_output("stream", text="1")]
    (reply,) = (c for c in notebook.cells if c.source == closed[1])
    for cell in (answer, reply):
        pages.show(cell, "99", tmp_path)
    assert answer.metadata.tags == ["hide-output"]
    assert "remove-cell" in reply.metadata.tags, "a page cannot answer a guess"


def test_words_and_assertions_of_an_answer_are_closed_with_it():
    text = "x = f()\nprint(x)\nwhy = 'Because.'\nassert x == 7\nreply(my_guess, x, why)\nassert x"
    computed, answer = build.split_reply(text)
    assert computed == "x = f()\nprint(x)"
    assert answer == "why = 'Because.'\nassert x == 7\nreply(my_guess, x, why)\nassert x"


def test_a_reveal_without_an_answer_is_refused(lesson):
    lesson.write_text(LESSON.replace('reply(my_guess, 7, "Because.")\n', ""))
    with pytest.raises(ValueError, match="must answer the guess"):
        build.generate(lesson)


def test_the_first_cell_has_links_and_the_time(lesson):
    text = build.generate(lesson).cells[0].source
    assert "about 5 minutes" in text and "](00_symbols.ipynb)" in text and "mybinder" in text


def test_names_of_sections_claims_and_exercises_become_links():
    stem = {n: p.stem for p in build.lessons() for n in [p.stem[:2]]}
    linked = references.linked("See Section 2.1, Claim 2.1 and Exercise 2.1.", stem["01"])
    assert f"[Section 2.1]({stem['02']}.ipynb#2.1-" in linked
    assert f"[Claim 2.1]({stem['02']}.ipynb#2." in linked
    assert f"[Exercise 2.1](coursework/{stem['02']}.ipynb#Exercise-2.1%3A-" in linked
    from_coursework = references.linked("Claim 2.1", f"coursework/{stem['02']}")
    assert f"[Claim 2.1](../{stem['02']}.ipynb" in from_coursework
    for kept in (
        "Claim 2.1 of this lesson, and `Claim 1.1` in code",
        "# Claim 1.1 in a heading",
        "[Claim 1.1](elsewhere.ipynb)",
        "[see Claim 1.1 there](elsewhere.ipynb)",
        "Claim 77.1 does not exist",
        "<details><summary>Proof of Claim 1.1</summary>",
        "```python\nClaim 1.1\n```",
    ):
        assert references.linked(kept, stem["02"]) == kept


def test_every_link_of_a_notebook_leads_somewhere():
    """Files exist, and headings are those of the notebook they point into."""
    folder = build.NOTEBOOKS
    found = 0
    for path in [*folder.glob("*.ipynb"), *folder.glob("coursework/*.ipynb")]:
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type != "markdown":
                continue
            for place, heading in references.LINK.findall(cell.source):
                target = (path.parent / place).resolve()
                assert target.exists(), (path.name, place)
                headings = [
                    references.anchor(line.lstrip("#").strip())
                    for other in nbformat.read(target, as_version=4).cells
                    for line in other.source.splitlines()
                    if other.cell_type == "markdown" and line.startswith("#")
                ]
                assert not heading or heading in headings, (path.name, place, heading)
                found += 1
    assert found > 60
