"""A raw-socket RESP2 and RESP3 client that hides nothing.

Replies and pushes come out in the order they arrived, each with its exact bytes, so that a test can
compare what weir says with what Redis says. Errors are values, not exceptions.

    c = Client(address)            # ("127.0.0.1", 6379) or "/path/to.sock"
    c("SET", "k", "v") == "OK"     # send one request, read its reply
    c.send("GET", "k"); c.read()   # the same in two steps; Frame has .value, .raw, .push
"""
import select
import socket
from typing import NamedTuple


class Error(str):
    """An error reply; equal to its text without the leading '-'."""

    def __repr__(self):
        return f"Error({str(self)!r})"


class Push(list):
    """An out-of-band RESP3 message."""


class Set(list):
    """A RESP3 set, in the order it was sent."""


class Map(list):
    """A RESP3 map as a list of pairs, in the order it was sent."""

    def dict(self):
        return dict(self)


class Double(float):
    """A RESP3 double."""


class BigNumber(int):
    """A RESP3 big number."""


class Verbatim(bytes):
    """A RESP3 verbatim string without its three-letter format."""


class Frame(NamedTuple):
    value: object
    raw: bytes
    push: bool


def encode(*args):
    """One request as a RESP array."""
    parts = [b"*%d\r\n" % len(args)]
    for arg in args:
        data = arg if isinstance(arg, (bytes, bytearray)) else str(arg).encode()
        parts.append(b"$%d\r\n%b\r\n" % (len(data), data))
    return b"".join(parts)


def command_bytes(commands):
    """Many requests, one after the other."""
    return b"".join(encode(*command) for command in commands)


class Closed(ConnectionError):
    """The peer closed the connection (or reset it) before the frame was complete."""


class Reader:
    """Parses frames from a blocking socket, keeping the bytes of each."""

    def __init__(self, sock):
        self.sock = sock
        self.buffer = bytearray()
        self.at = 0  # next unread byte of the buffer

    def _more(self):
        try:
            data = self.sock.recv(1 << 18)
        except ConnectionError as error:
            raise Closed(str(error)) from error
        if not data:
            raise Closed(f"closed with {len(self.buffer) - self.at} bytes of a frame unread")
        self.buffer += data

    def _line(self):
        end = self.buffer.find(b"\r\n", self.at)
        while end < 0:
            seen = max(self.at, len(self.buffer) - 1)
            self._more()
            end = self.buffer.find(b"\r\n", seen)
        line = bytes(self.buffer[self.at:end])
        self.at = end + 2
        return line

    def _exact(self, size):
        while len(self.buffer) - self.at < size + 2:
            self._more()
        data = bytes(self.buffer[self.at:self.at + size])
        assert self.buffer[self.at + size:self.at + size + 2] == b"\r\n", "bulk not closed by CRLF"
        self.at += size + 2
        return data

    def _elements(self, count):
        return [self._value() for _ in range(count)]

    def _value(self):
        line = self._line()
        kind, rest = line[:1], line[1:]
        if kind == b"$":
            return None if rest == b"-1" else self._exact(int(rest))
        if kind == b"+":
            return rest.decode()
        if kind == b":":
            return int(rest)
        if kind == b"-":
            return Error(rest.decode(errors="replace"))
        if kind == b"*":
            return None if rest == b"-1" else self._elements(int(rest))
        if kind == b"_":
            return None
        if kind == b"#":
            return {b"t": True, b"f": False}[rest]
        if kind == b",":
            return Double(rest)
        if kind == b"(":
            return BigNumber(rest)
        if kind == b"=":
            return Verbatim(self._exact(int(rest))[4:])
        if kind == b"!":
            return Error(self._exact(int(rest)).decode(errors="replace"))
        if kind == b"~":
            return Set(self._elements(int(rest)))
        if kind == b"%":
            return Map((self._value(), self._value()) for _ in range(int(rest)))
        if kind == b">":
            return Push(self._elements(int(rest)))
        if kind == b"|":  # an attribute and what it decorates are one frame
            self._elements(2 * int(rest))
            return self._value()
        raise AssertionError(f"not RESP: {line[:80]!r}")

    def frame(self):
        if self.at > 1 << 20 or self.at == len(self.buffer):
            del self.buffer[:self.at]
            self.at = 0
        start = self.at
        value = self._value()
        return Frame(value, bytes(self.buffer[start:self.at]), isinstance(value, Push))


def connect(address, timeout=30.0, receive_buffer=None):
    """A connected socket to (host, port) or a Unix path."""
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    if receive_buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    sock.settimeout(timeout)
    sock.connect(address)
    if family == socket.AF_INET:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


class Client:
    """One connection. Not for several threads at once."""

    def __init__(self, address, resp=2, timeout=30.0, receive_buffer=None):
        self.sock = connect(address, timeout, receive_buffer)
        self.reader = Reader(self.sock)
        self.pushes = []  # those that read past a reply; drained by the test
        if resp == 3:
            self.hello = self("HELLO", 3)
            assert not isinstance(self.hello, Error), self.hello

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def send(self, *args):
        self.sock.sendall(encode(*args))

    def send_raw(self, data):
        self.sock.sendall(data)

    def read(self):
        """The next frame, reply or push, as it came."""
        return self.reader.frame()

    def reply(self):
        """The next reply; pushes on the way are kept in self.pushes."""
        while True:
            frame = self.read()
            if not frame.push:
                return frame.value
            self.pushes.append(frame.value)

    def __call__(self, *args):
        self.send(*args)
        return self.reply()

    def raw(self, *args):
        """Sends one request and returns the exact bytes of its reply."""
        self.send(*args)
        return self.read().raw

    def pipeline(self, commands):
        """All requests in one write, then all replies."""
        commands = list(commands)
        self.sock.sendall(command_bytes(commands))
        return [self.reply() for _ in commands]

    def readable(self, seconds=0.0):
        """Is there anything to read (end of file counts)?"""
        if self.reader.at < len(self.reader.buffer):
            return True
        return bool(select.select([self.sock], [], [], seconds)[0])

    def at_end(self):
        """Reads whatever is left; True when the peer has closed (waits for the socket's timeout)."""
        try:
            while True:
                self.read()
        except Closed:
            return True
        except TimeoutError:
            return False
