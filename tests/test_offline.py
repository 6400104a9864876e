"""Nothing in the tests reaches the network, the kernels of all notebooks included.

This file shows that the block works.
"""

import socket
import subprocess
import sys
import urllib.request

import nbformat
import pytest
from nbclient import NotebookClient

# an address that belongs to nobody
TRY = "import urllib.request\nurllib.request.urlopen('http://192.0.2.1/', timeout=3)"
OURS = "the tests run without a network"


def test_in_this_process():
    with pytest.raises(OSError, match=OURS):
        urllib.request.urlopen("http://192.0.2.1/", timeout=3)
    with pytest.raises(OSError, match=OURS):
        socket.getaddrinfo("example.org", 80)
    with socket.socket() as one, pytest.raises(OSError, match=OURS):
        one.connect_ex(("192.0.2.1", 80))


def test_in_another_process():
    done = subprocess.run([sys.executable, "-c", TRY], capture_output=True, text=True)
    assert done.returncode and OURS in done.stderr


def test_in_a_kernel_as_the_notebooks_have_it():
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(TRY)])
    NotebookClient(notebook, kernel_name="python3", allow_errors=True).execute()
    (out,) = notebook.cells[0].outputs
    assert out.ename == "URLError" and OURS in out.evalue


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_this_machine_stays_reachable(host):
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection((host, server.getsockname()[1]), timeout=3),
    ):
        pass
