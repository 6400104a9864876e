"""No network but this machine itself, for every Python process with this folder on PYTHONPATH.

(tests/conftest.py puts it there.)

Python imports a module of this name when it starts. Blocks Python's own sockets, so also urllib,
requests and pip; programs in other languages go unwatched, and so does Jupyter's ZeroMQ, which
talks to this machine only.
"""

import ipaddress
import socket

_connect, _connect_ex, _getaddrinfo = (
    socket.socket.connect,
    socket.socket.connect_ex,
    socket.getaddrinfo,
)


def _local(host) -> bool:
    if host in (None, "", "localhost", b"localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _check(host) -> None:
    if not _local(host):
        raise OSError(f"the tests run without a network, and something asked for {host!r}")


def _checked(method):
    def call(self, address):
        if self.family in (socket.AF_INET, socket.AF_INET6):
            _check(address[0])
        return method(self, address)

    return call


def _checked_getaddrinfo(host, *args, **kwargs):
    _check(host)
    return _getaddrinfo(host, *args, **kwargs)


socket.socket.connect = _checked(_connect)
socket.socket.connect_ex = _checked(_connect_ex)
socket.getaddrinfo = _checked_getaddrinfo
