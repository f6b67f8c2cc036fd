"""src/wire as a shared object, and a plain redis-server to hold it against.

Used by test_resp2_shapes.py, test_allowlist.py and test_command_keys.py. The object is compiled
from the sources into a temporary folder: a second or two, and no build directory is needed.
"""
import ctypes
import pathlib
import re
import shutil
import socket
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
WIRE = ROOT / "src" / "wire"


class Slice(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("size", ctypes.c_size_t)]

    @classmethod
    def of(cls, data):
        buffer = ctypes.create_string_buffer(data, max(len(data), 1))
        made = cls(ctypes.addressof(buffer), len(data))
        made.keep = buffer
        return made

    def bytes(self):
        return ctypes.string_at(self.data, self.size) if self.size else b""


class Request(ctypes.Structure):
    _fields_ = [("frame", Slice), ("argc", ctypes.c_uint32), ("is_inline", ctypes.c_bool),
                ("argv", Slice * 8), ("got", ctypes.c_uint8)]


class Bounds(ctypes.Structure):
    _fields_ = [("max_args", ctypes.c_int64), ("max_bulk", ctypes.c_int64),
                ("authenticated", ctypes.c_bool)]


class Command(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("id", ctypes.c_int), ("arity", ctypes.c_int16),
                ("first_key", ctypes.c_int16), ("last_key", ctypes.c_int16),
                ("key_step", ctypes.c_int16), ("flags", ctypes.c_uint32), ("route", ctypes.c_int),
                ("shape", ctypes.c_int)]


KEY = ctypes.CFUNCTYPE(None, ctypes.c_void_p, Slice)


def enumeration(header, name):
    """The members of a C enum by name, from its text."""
    body = re.search(r"enum %s \{(.*?)\n\};" % name, (WIRE / header).read_text(), re.S).group(1)
    body = re.sub(r"//.*", "", body)
    values, following = {}, 0
    for member in filter(None, map(str.strip, body.split(","))):
        word, _, number = (part.strip() for part in member.partition("="))
        following = eval(number) if number else following  # "1 << 16", "-3"
        values[word] = following
        following += 1
    return values


SHAPES = enumeration("resp.h", "resp2_shape")
FLAGS = enumeration("command.h", "command_flag")


class Wire:
    def __init__(self):
        self.folder = tempfile.TemporaryDirectory()
        path = pathlib.Path(self.folder.name) / "libwire.so"
        sources = [*WIRE.glob("*.c"), ROOT / "src" / "base" / "slice.c"]
        subprocess.run([shutil.which("cc") or "gcc", "-std=gnu17", "-D_GNU_SOURCE", "-O1",
                        "-shared", "-fPIC", "-I", ROOT / "src", *sources, "-o", path], check=True)
        self.library = ctypes.CDLL(str(path))
        self.library.command_find.restype = ctypes.POINTER(Command)
        self.library.command_by_id.restype = ctypes.POINTER(Command)
        self.library.command_find.argtypes = [Slice]
        self.library.resp_request_parse.restype = ctypes.c_long
        self.library.resp_request_parse.argtypes = [ctypes.POINTER(Request), Slice,
                                                    ctypes.POINTER(Bounds),
                                                    ctypes.POINTER(ctypes.c_size_t)]
        self.library.resp_to_resp2.restype = ctypes.c_long
        self.library.resp_to_resp2.argtypes = [Slice, ctypes.c_int, ctypes.c_void_p,
                                               ctypes.c_size_t]
        self.library.command_keys.argtypes = [ctypes.POINTER(Command), ctypes.POINTER(Request), KEY,
                                              ctypes.c_void_p]
        self.library.command_shape.argtypes = [ctypes.POINTER(Command), ctypes.POINTER(Request)]
        self.library.resp_reply_length.restype = ctypes.c_long
        self.library.resp_reply_length.argtypes = [Slice, ctypes.POINTER(ctypes.c_bool)]

    def find(self, name):
        return self.library.command_find(Slice.of(name.encode())).contents

    def commands(self):
        """Every command of the table."""
        at = 1
        while self.library.command_by_id(at).contents.id == at:
            yield self.library.command_by_id(at).contents
            at += 1

    def parse(self, args):
        """A parsed request and its command."""
        frame = Slice.of(encode(args))
        request, need = Request(), ctypes.c_size_t()
        bounds = Bounds(1 << 20, 512 << 20, True)
        size = self.library.resp_request_parse(request, frame, bounds, need)
        assert size == frame.size
        request.keep = frame
        return request, self.library.command_find(request.argv[0])

    def keys(self, args):
        """What command_keys gives, or None where it refuses."""
        request, command = self.parse(args)
        found = []
        count = self.library.command_keys(
            command, request, KEY(lambda context, key: found.append(key.bytes())), None)
        if count < 0:
            return None
        assert count == len(found)
        return found

    def shape(self, args):
        request, command = self.parse(args)
        return self.library.command_shape(command, request)

    def to_resp2(self, frame, shape):
        room = 2 * len(frame) + 64
        out = ctypes.create_string_buffer(room)
        size = self.library.resp_to_resp2(Slice.of(frame), shape, out, room)
        return out.raw[:size] if size > 0 else None

    def reply_length(self, data):
        return self.library.resp_reply_length(Slice.of(data), ctypes.c_bool())


def encode(args):
    args = [a if isinstance(a, bytes) else str(a).encode() for a in args]
    return b"*%d\r\n" % len(args) + b"".join(b"$%d\r\n%s\r\n" % (len(a), a) for a in args)


class Connection:
    """Raw frames: what the server sends is kept byte for byte."""

    def __init__(self, wire, port, protocol=2):
        self.wire, self.pending = wire, b""
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.settimeout(5)
        if protocol == 3:
            self.run("HELLO", "3")

    def frame(self):
        while True:
            size = self.wire.reply_length(self.pending)
            assert size >= 0, self.pending
            if size > 0:
                frame, self.pending = self.pending[:size], self.pending[size:]
                return frame
            part = self.socket.recv(1 << 16)
            assert part, "the server closed the connection"
            self.pending += part

    def send(self, *args):
        self.socket.sendall(encode(args))

    def run(self, *args):
        self.send(*args)
        return self.frame()

    def close(self):
        self.socket.close()


class Server:
    """A redis-server on a free port, with everything that tests of replies need switched on."""

    def __init__(self, *options):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.folder = tempfile.TemporaryDirectory()
        self.process = subprocess.Popen(
            ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "",
             "--dir", self.folder.name, "--enable-debug-command", "yes", *options],
            stdout=subprocess.DEVNULL)
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            except ConnectionRefusedError:
                time.sleep(0.05)
        raise RuntimeError("redis-server does not answer")

    def close(self):
        self.process.terminate()
        self.process.wait()
        self.folder.cleanup()
