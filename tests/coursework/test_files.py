"""Who handed in what, whatever lies in the folder; tables and pages that are safe to open."""

import csv
import io
import os
import socket
import zipfile

import pytest

from chapter_checks.grading import files, tables
from chapter_checks.grading.files import submissions

BLANKS = ["02_numerical_methods", "03_lipschitz_bounds"]


def put(path, data=b"{}"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def zipped(**members):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return packed.getvalue()


def students(folder):
    return sorted({submission.student for submission in submissions(folder, BLANKS)})


def notes(folder):
    return {entry.student: entry.note for entry in submissions(folder, BLANKS)}


@pytest.mark.parametrize(
    ("name", "student"),
    [
        ("ann/02_numerical_methods.ipynb", "ann"),
        ("bob/hw/x.ipynb", "bob"),
        ("carl_02_numerical_methods.ipynb", "carl"),
        ("02_Numerical_Methods_Carl.IPYNB", "Carl"),
        ("dora.ipynb", "dora"),
        ("dora-Copy1.ipynb", "dora"),
        ("dora (1).ipynb", "dora"),
        ("dora_02_numerical_methods-Copy2 (3).ipynb", "dora"),
        ("dora_02_numerical_methods.ipynb.txt", "dora"),
        ("team-2.ipynb", "team-2"),
        ("annsmith_4711_90210_02_numerical_methods-1.ipynb", "annsmith_4711"),
        ("annsmith_LATE_4711_90211_02_numerical_methods.ipynb", "annsmith_4711"),
        ("Ann Smith_4711_assignsubmission_file_/x.ipynb", "Ann Smith_4711"),
        ("Zoe\u0308/x.ipynb", "Zoë"),
        ("02_numerical_methods.ipynb", "class"),
    ],
)
def test_whose_it_is(tmp_path, name, student):
    put(tmp_path / "class" / name)
    assert students(tmp_path / "class") == [student]


def test_hidden_files_and_the_output_are_nobodys(tmp_path):
    put(tmp_path / "class" / "ann" / ".ipynb_checkpoints" / "x.ipynb")
    put(tmp_path / "class" / "ann" / "x.ipynb")
    put(tmp_path / "class" / ".git" / "x.ipynb")
    put(tmp_path / "class" / "out" / "x.ipynb")
    found = submissions(tmp_path / "class", BLANKS, tmp_path / "class" / "out")
    assert [(one.student, one.name) for one in found] == [("ann", "x.ipynb")]


@pytest.mark.skipif(os.name == "nt", reason="links and pipes need a POSIX system")
def test_only_regular_files_are_read(tmp_path):
    """Links to a classmate's notebook, to the solutions, to nothing; pipes, devices, folders."""
    secret = put(tmp_path / "secret.ipynb", b"secret")
    folder = tmp_path / "class"
    for student in ("link", "broken", "loop", "pipe", "folder", "linked folder", "socket"):
        (folder / student).mkdir(parents=True)
    (folder / "link" / "x.ipynb").symlink_to(secret)
    (folder / "broken" / "x.ipynb").symlink_to("nowhere")
    (folder / "loop" / "x.ipynb").symlink_to("x.ipynb")
    os.mkfifo(folder / "pipe" / "x.ipynb")
    (folder / "folder" / "x.ipynb").mkdir()
    (folder / "linked folder" / "all").symlink_to(tmp_path)
    (folder / "top").symlink_to(tmp_path)
    (folder / "top.ipynb").symlink_to(secret)
    (folder / "zip.zip").symlink_to(secret)
    with socket.socket(socket.AF_UNIX) as listening:
        here = os.getcwd()
        os.chdir(folder / "socket")  # the name of a socket has to be short
        listening.bind("x.ipynb")
        os.chdir(here)
        found = submissions(folder, BLANKS)
    assert len(found) == 10 and all(one.data is None for one in found)
    said = "; ".join(one.note for one in found)
    assert said.count("it is a link, not a file") == 5
    for kind in ("pipe", "folder", "socket"):
        assert f"it is a {kind}, not a file" in said
    assert "nothing was handed in" in notes(folder)["linked folder"]


@pytest.mark.skipif(os.name == "nt", reason="pipes need a POSIX system")
def test_a_file_that_becomes_a_pipe_is_not_waited_for(tmp_path, monkeypatch):
    path = put(tmp_path / "x.ipynb")
    before = os.lstat(path)
    path.unlink()
    os.mkfifo(path)
    monkeypatch.setattr(files.os, "lstat", lambda _: before)
    with pytest.raises(files.NotTaken, match="not a file"):
        files.read(str(path))


def test_who_hands_in_something_else_has_a_row_that_says_so(tmp_path):
    folder = tmp_path / "class"
    (folder / "nothing").mkdir(parents=True)
    put(folder / "script" / "answer.py")
    put(folder / "late.py")
    put(folder / "broken" / "x.zip", b"PK\x03\x04 no zip")
    put(folder / "empty" / "x.zip", zipped(readme="x"))
    put(folder / "large" / "x.ipynb", b" " * (files.LARGEST + 1))
    put(folder / "bomb" / "x.zip", zipped(**{"x.ipynb": b" " * (files.LARGEST + 1)}))
    said = notes(folder)
    assert said["nothing"] == "nothing was handed in"
    assert said["script"] == "no notebook was handed in, but answer.py"
    assert said["late"].startswith("late.py is no notebook")
    assert "BadZipFile" in said["broken"] and "no notebook in it" in said["empty"]
    assert "larger than 20 MB" in said["large"] and "larger than 20 MB" in said["bomb"]


def test_zip_files_are_opened_without_unpacking_them(tmp_path):
    members = {
        "hw/02.ipynb": b"1",
        "__MACOSX/._02.ipynb": b"2",
        "../../03.ipynb": b"3",
        "a.py": b"4",
    }
    put(tmp_path / "class" / "ann.zip", zipped(**members))
    before = {path for path in tmp_path.rglob("*")}
    found = submissions(tmp_path / "class", BLANKS)
    assert [(one.student, one.data) for one in found] == [("ann", b"1")]
    assert {path for path in tmp_path.rglob("*")} == before


@pytest.mark.skipif(os.name == "nt", reason="such names need a POSIX system")
@pytest.mark.parametrize(
    "name",
    [b"J\xf6rg", b"\xff\xfe", b"a\nb", b"\x1b[31mred", b"=1+1", b"x" * 250, "\u202egpj".encode()],
)
def test_odd_names_are_written_and_shown(tmp_path, name, capsys):
    folder = os.path.join(os.fsencode(tmp_path), b"class", name)
    os.makedirs(folder)
    with open(os.path.join(folder, b"x.ipynb"), "wb") as file:
        file.write(b"{}")
    (student,) = students(tmp_path / "class")
    assert student.isprintable()
    tables.write(tmp_path / "out", {student: [result()]})
    text = (tmp_path / "out" / "grades.csv").read_text(encoding="utf-8")
    (row,) = csv.DictReader(text.splitlines())
    assert row["student"] == tables.cell(student)
    (page,) = (tmp_path / "out" / "feedback").iterdir()
    assert len(os.fsencode(page.name)) < 200 and page.name.isprintable()


def result(line="", note="a note"):
    return {"lesson": "02", "verdicts": {"2.1": [False, line]}, "notes": [note], "problem": ""}


def test_pages_of_similar_names_are_different_files():
    names = ["ann", "Ann", "a/b", "a:b", "a_b", "x" * 200 + "1", "x" * 200 + "2", "..", "_"]
    pages = {files.page_name(name, names).casefold() for name in names}
    assert len(pages) == len(names) and not any("/" in page or page[0] == "." for page in pages)


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t=", " =", "\r", "＝"])
def test_no_cell_is_a_formula(start):
    text = f"{start}HYPERLINK(1)"
    assert tables.cell(text)[0] == "'" or not tables.cell(text).lstrip().startswith(tables.FORMULA)
    rows = tables.table({text: [result(note=text)]})
    for cell in (rows[1][0], rows[1][-1]):
        assert cell.startswith(("'", "\\"))


def test_nothing_on_a_page_is_a_tag_a_link_or_a_control_character():
    bad = "<img src=x> [a](http://b.c) ![p](q) `code` @all www.x.y \x1b[31m \u202e \ud800"
    page = tables.feedback(bad, [result(line=bad, note=bad)])
    page.encode("utf-8")
    assert "<" not in page and "](" not in page.replace("\\](", "") and "@" not in page
    assert "://" not in page and "www." not in page
    assert page.replace("\n", "").isprintable() and "\\\\ud800" in page


def test_what_is_not_graded_is_not_zero():
    one = result() | {"problem": "no sandbox"}
    one["verdicts"] = {"2.1": [None, ""], "2.2": [True, ""]}
    row = tables.table({"ann": [one]})[1]
    assert row[1:5] == ["not graded", 2, 2, 3]
    assert row[5].startswith("not graded: no sandbox")
    assert tables.feedback("ann", [one]).startswith("# ann: not graded yet")
