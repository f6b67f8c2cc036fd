"""The servers that are measured: each on a free loopback port, stopped by its own process handle."""

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.path.join(ROOT, "build")
NUTCRACKER_MBUF = 2048  # the quickest of 512, 2048 and the default 16384 for these small values


class BenchError(Exception):
    pass


def program(name):
    """A program of the build, or an error that says what to do."""
    path = os.path.join(BUILD, name)
    if not os.path.exists(path):
        raise BenchError(f"{os.path.relpath(path, ROOT)} is missing: run `make build` first")
    return path


def peer(name):
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    if not path:
        raise BenchError(f"{name} is not installed")
    return path


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    """A running process that listens on 127.0.0.1:port. A context manager: leaving it stops it."""

    def __init__(self, name, arguments, port, cwd=None):
        self.name, self.port, self.address = name, port, f"127.0.0.1:{port}"
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=self.log,
                                        stderr=subprocess.STDOUT, cwd=cwd)
        self.pid = self.process.pid
        self.wait_until_open()

    def wait_until_open(self):
        end = time.monotonic() + 20
        while time.monotonic() < end:
            if self.process.poll() is not None:
                break
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        self.stop()
        raise BenchError(f"{self.name} did not start: {self.output()[-500:]}")

    def output(self):
        self.log.seek(0)
        return self.log.read().decode(errors="replace")

    def command(self, *words):
        """One command over RESP; returns the reply of a bulk or simple string as text."""
        request = b"*%d\r\n" % len(words)
        for word in words:
            request += b"$%d\r\n%s\r\n" % (len(word.encode()), word.encode())
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as s:
            s.sendall(request)
            stream = s.makefile("rb")
            head = stream.readline()
            if head[:1] == b"$" and head[1:2] != b"-":
                return stream.read(int(head[1:])).decode(errors="replace")
            return head[1:].strip().decode(errors="replace")

    def info(self, *sections):
        """Fields of INFO as a dictionary of text."""
        lines = self.command("INFO", *sections).split("\r\n")
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def rss_bytes(self):
        with open(f"/proc/{self.pid}/status") as status:
            return int(re.search(r"VmRSS:\s+(\d+)", status.read()).group(1)) * 1024

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                print(f"bench: {self.name} ignored TERM for 15 s", file=sys.stderr)
                self.process.kill()
                self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.stop()


def redis_server():
    port = free_port()
    return Server("redis-server", [peer("redis-server"), "--port", str(port), "--bind", "127.0.0.1",
                                   "--save", "", "--appendonly", "no"], port)


def floor():
    port = free_port()
    return Server("floor", [program("bench/floor"), str(port)], port)


def nutcracker(store):
    port, directory = free_port(), tempfile.mkdtemp(prefix="bench-nutcracker-")
    with open(os.path.join(directory, "nutcracker.yml"), "w") as config:
        config.write(f"bench:\n  listen: 127.0.0.1:{port}\n  hash: fnv1a_64\n"
                     f"  distribution: ketama\n  redis: true\n  servers:\n"
                     f"   - 127.0.0.1:{store.port}:1\n")
    server = Server("nutcracker", [peer("nutcracker"), "-c", "nutcracker.yml", "-m",
                                   str(NUTCRACKER_MBUF), "-s", str(free_port())], port, directory)
    shutil.rmtree(directory)
    return server


def weir(store, cache, threads=1, memory="256mb"):
    port = free_port()
    return Server(f"weir (cache {cache}, {threads} threads)",
                  [program("weir"), "serve", "--store", f"redis://{store.address}",
                   "--listen", f"127.0.0.1:{port}", "--admin", f"127.0.0.1:{free_port()}",
                   "--memory", memory, "--threads", str(threads), "--cache", cache,
                   "-o", "maxclients 12000"], port)
