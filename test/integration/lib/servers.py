"""Real servers for tests: redis-server and weir, each on a free port, stopped by process id.

Every server has .address for lib.resp.Client, .client(), .log(), .stop(), .signal(). Weir also knows
its own counters (.metric) and, when stopped, that it must have ended well: status 0 on TERM, no
crash, no sanitizer's report.
"""
import os
import re
import signal
import socket
import subprocess
import time
from pathlib import Path

from lib.resp import Client, Error

ROOT = Path(__file__).resolve().parents[3]
DIRECT = os.environ.get("WEIR_DIRECT") == "1"  # weir's fixtures are the store itself
WEIR = os.environ.get("WEIR") or str(ROOT / "build" / "weir")
DEADLINE = 30.0  # for anything that must come in the end
REPORTS = re.compile(
    r"AddressSanitizer|ThreadSanitizer|LeakSanitizer|UndefinedBehavior|runtime error:|"
    r"CHECK failed|Assertion .* failed|stack smashing")


def wait_until(condition, what="the condition", deadline=DEADLINE, pause=0.002):
    """Polls until `condition()` is true, and returns what it gave."""
    end = time.monotonic() + deadline
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited {deadline:.0f} s in vain for {what}")
        time.sleep(pause)


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def sanitized():
    """Is the binary under test a sanitizer build (slow, and large in memory)?"""
    return any(part in WEIR for part in ("asan", "tsan"))


class Server:
    """A child process with a log file and an address."""

    name = "server"

    def __init__(self, directory):
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.log_path = self.directory / "log"
        self.process = None
        self.clients = []

    def spawn(self, arguments, environment=None):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.directory,
                env={**os.environ, **(environment or {})})

    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def client(self, **options):
        client = Client(self.address, **options)
        self.clients.append(client)
        return client

    def answers(self):
        try:
            with Client(self.address, timeout=5.0) as client:
                reply = client("PING")
        except OSError:
            return False
        return reply == "PONG" or (isinstance(reply, Error) and not reply.startswith("LOADING"))

    def await_start(self):
        """True once it answers, False if it ended before (a port that was taken meanwhile)."""
        wait_until(lambda: self.process.poll() is not None or self.answers(),
                   f"{self.name} to start; its log:\n{self.log()}")
        return self.process.poll() is None

    def signal(self, number):
        self.process.send_signal(number)

    def close_clients(self):
        for client in self.clients:
            client.close()
        self.clients.clear()

    def wait(self, seconds=DEADLINE):
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"{self.name} did not end in {seconds} s; its log:\n"
                                 + self.log()[-4000:]) from None

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def peak_rss_bytes(self):
        return self.status_bytes("VmHWM")

    def rss_bytes(self):
        return self.status_bytes("VmRSS")

    def status_bytes(self, field):
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"^{field}:\s+(\d+) kB", text, re.M)[1]) * 1024


class Redis(Server):
    name = "redis-server"

    def __init__(self, directory, **options):
        super().__init__(directory)
        self.options = options
        for _ in range(5):
            self.port = free_port()
            self.address = ("127.0.0.1", self.port)
            if self.start():
                return
        raise AssertionError("redis-server does not start:\n" + self.log())

    def start(self):
        arguments = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir",
                     str(self.directory), "--enable-debug-command", "yes"]
        options = {"save": "", "appendonly": "no", **self.options}
        for name, value in options.items():
            arguments += ["--" + name.replace("_", "-"), *(
                value if isinstance(value, (list, tuple)) else [str(value)])]
        self.spawn(arguments)
        return self.await_start()

    def restart(self):
        """Starts again on the same port, after kill() or stop()."""
        wait_until(self.start, "redis-server to start again")

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}"

    def stop(self):
        self.close_clients()
        if self.process.poll() is None:
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGTERM)
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.kill()


class Weir(Server):
    """`weir serve` with a configuration file written from keyword options.

    Underscores stand for dashes; a list gives the directive once per item. `cache_block` is the text
    inside of the default `cache { }` block, `extra` any further lines.
    """

    name = "weir"

    def __init__(self, directory, store, **options):
        super().__init__(directory)
        self.store = store
        self.options = {"memory": "64mb", "threads": 2, "admin": "off", "loglevel": "debug", **options}
        self.take_port()

    def take_port(self):
        self.port = free_port()
        self.address = ("127.0.0.1", self.port)

    def run(self):
        """Starts it, on another port when this one has been taken meanwhile."""
        for _ in range(5):
            if self.start():
                return self
            self.take_port()
        raise AssertionError("weir does not start:\n" + self.log())

    @property
    def config_path(self):
        return self.directory / "weir.conf"

    def config_text(self):
        options = dict(self.options)
        block, extra = options.pop("cache_block", None), options.pop("extra", "")
        listen = options.pop("listen", [])
        lines = [f"listen {address}" for address in [f"127.0.0.1:{self.port}", *listen]]
        if self.store:
            lines.append("store " + (self.store if isinstance(self.store, str) else self.store.url))
        for name, value in options.items():
            for item in value if isinstance(value, list) else [value]:
                lines.append(f"{name.replace('_', '-')} {item}")
        if block:
            lines += ["cache {", block, "}"]
        return "\n".join(lines + [extra, ""])

    def launch(self):
        self.config_path.write_text(self.config_text())
        self.spawn([WEIR, "serve", str(self.config_path)], {
            "ASAN_OPTIONS": "exitcode=99:detect_leaks=1:abort_on_error=0",
            "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1:exitcode=99",
            "TSAN_OPTIONS": "exitcode=99:halt_on_error=0"})

    def start(self):
        self.launch()
        return self.await_start()

    def reports(self):
        """Lines of the log that no healthy weir writes."""
        return [line for line in self.log().splitlines() if REPORTS.search(line)]

    def stop(self):
        self.close_clients()
        if self.process.poll() is None:
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGTERM)
        status = self.wait()
        assert not self.reports(), "\n".join(self.log().splitlines()[-200:])
        assert status == 0, f"weir ended with {status}; its log:\n{self.log()[-4000:]}"

    def died(self):
        """What it said when it ended although nobody asked it to, or None; it is started again."""
        if self.process.poll() is None:
            return None
        said = f"weir ended with {self.process.returncode}; its log:\n{self.log()[-4000:]}"
        self.log_path.rename(self.directory / f"log-{self.process.pid}")
        wait_until(self.start, "weir to start again")
        return said

    def info(self):
        """The # Weir section of INFO, name to text."""
        with Client(self.address) as client:
            text = client("INFO", "weir").decode()
        return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)

    def metric(self, name):
        return int(self.info()[name])

    def hits(self):
        return self.metric("cache_hits_total")


class Direct:
    """What stands in for weir under WEIR_DIRECT=1: the store itself, to prove expectations."""

    name = "direct"

    def __init__(self, store):
        self.real = store
        self.address = store.address
        self.port = store.port

    def __getattr__(self, name):
        return getattr(self.real, name)

    def died(self):
        return None

    def stop(self):
        pass
