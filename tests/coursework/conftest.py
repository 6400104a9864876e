"""What several tests of the coursework need."""

import zipfile

import pytest

import build_coursework as builder


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """The folder that students receive, unpacked."""
    target = tmp_path_factory.mktemp("release") / "student.zip"
    builder.release(target)
    with zipfile.ZipFile(target) as packed:
        packed.extractall(target.parent)
    return target.parent / "course"
