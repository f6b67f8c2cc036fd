"""`memory` bounds the process: peak RSS (VmHWM) stays under it, whatever clients do.

Each test prints its row of the table at the end of the run. A sanitizer's own memory is not weir's, so
these run on a plain build only.
"""
import os
import random
import re
import resource
import shutil
import subprocess
import threading
from pathlib import Path

import pytest

from lib.resp import Client, connect, encode
from lib.servers import DIRECT, WEIR, sanitized, wait_until

pytestmark = pytest.mark.skipif(sanitized() or DIRECT, reason="measures weir's own memory")

MIB = 1 << 20
TABLE = []


@pytest.fixture(scope="module", autouse=True)
def table(request):
    yield
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        print(f"\n{'peak RSS under':48} {'memory':>8} {'peak':>9}")
        for what, limit, peak in TABLE:
            print(f"{what:48} {limit >> 20:>5} MB {peak / MIB:>6.1f} MB")


class Bound:
    """weir with a memory limit; `check` puts its peak against it."""

    def __init__(self, fleet, megabytes, **options):
        self.limit = megabytes * MIB
        self.store = fleet.redis(maxmemory="400mb", maxmemory_policy="allkeys-random")
        self.weir = fleet.weir(self.store, memory=f"{megabytes}mb", loglevel="warning", **options)
        self.address = self.weir.address
        self.check("start", row=False)

    def check(self, what, row=True):
        peak = self.weir.peak_rss_bytes()
        if row:
            TABLE.append((what, self.limit, peak))
        assert peak <= self.limit, f"{what}: {peak / MIB:.1f} MB"


def together(count, work):
    """Runs work(index) in threads and raises what any of them raised."""
    errors = []

    def run(index):
        try:
            work(index)
        except Exception as error:  # pylint: disable=broad-except
            errors.append(error)
    threads = [threading.Thread(target=run, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


@pytest.mark.parametrize("megabytes", [48, 128])
def test_churn_of_shifting_sizes(fleet, megabytes):
    """Values of 16 B to 1 MB, one size after another and all mixed, written and read through weir."""
    bound = Bound(fleet, megabytes)
    sizes = [16, 100, 1000, 4000, 16_000, 64_000, 256_000, 1_000_000]

    def churn(index):
        rng = random.Random(index)
        with Client(bound.address) as client:
            for size in sizes + sizes[::-1] + [0] * 4:
                left = megabytes * MIB // 8
                for _ in range(60):
                    batch = []
                    for _ in range(100):
                        each = size or rng.choice(sizes)
                        key = f"{each}:{rng.randrange(2 * megabytes * MIB // each + 1)}"
                        batch += [("SET", key, b"v" * each)] if rng.random() < 0.3 else []
                        batch += [("GET", key)]
                        left -= each + 100
                        if left < 0 or each > 20_000:
                            break
                    client.pipeline(batch)
                    if left < 0:
                        break
    together(3, churn)
    bound.check("churn of 16 B to 1 MB")


def test_ten_thousand_idle_and_five_hundred_slow(fleet):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 12_000:
        pytest.skip(f"may open {hard} files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    socks = []
    try:
        bound = Bound(fleet, 96, maxclients=11_000)
        with Client(bound.address) as client:
            assert client("SET", "large", "v" * 300_000) == "OK"
            before = bound.weir.rss_bytes()
            for _ in range(10_000):
                socks.append(connect(bound.address))
            wait_until(lambda: bound.weir.metric("clients") >= 10_000)
            each = (bound.weir.rss_bytes() - before) / 10_000
            bound.check("10,000 idle clients")
            for _ in range(500):
                sock = connect(bound.address, receive_buffer=4096)
                sock.setblocking(False)
                try:
                    sock.send(encode("GET", "large") * 30)
                except OSError:
                    pass  # cut already, which is weir's right
                socks.append(sock)
            for n in range(200):
                assert client("SET", "k", n) == "OK"
                assert client("GET", "k") == str(n).encode()
            bound.check("10,000 idle and 500 slow clients")
            assert each <= 2048, f"an idle connection takes {each:.0f} B"
    finally:
        for sock in socks:
            sock.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_storm_of_invalidations(fleet):
    """100,000 cached keys, all written by somebody else at once, three times."""
    bound, count = Bound(fleet, 96), 100_000
    keys = [f"storm:{n}" for n in range(count)]
    with Client(bound.store.address) as other, Client(bound.address) as client:
        for generation in range(3):
            for at in range(0, count, 1000):
                other.pipeline([("SET", key, f"{key}:{generation}") for key in keys[at:at + 1000]])
            last = f"{keys[-1]}:{generation}".encode()
            wait_until(lambda last=last: client("GET", keys[-1]) == last)
            for at in range(0, count, 1000):
                replies = client.pipeline([("GET", key) for key in keys[at:at + 1000]])
                assert replies[-1] == f"{keys[at + 999]}:{generation}".encode()
        assert bound.weir.metric("cache_invalidations_total") >= count
        other("FLUSHALL")
        wait_until(lambda: client("GET", keys[0]) is None)
    bound.check("storms of 100,000 invalidations")


def test_large_values(fleet):
    """Values far larger than what weir has for buffers pass through it, by several clients at once."""
    bound = Bound(fleet, 48)

    def exchange(index):
        value = bytes([65 + index]) * 20_000_000
        with Client(bound.address) as client:
            for _ in range(3):
                assert client("SET", f"large:{index}", value) == "OK"
                assert client("GET", f"large:{index}") == value
    together(5, exchange)
    bound.check("values of 20 MB, 5 clients")


def test_big_pipelines(fleet):
    """Clients that send 20,000 commands before they read anything."""
    bound = Bound(fleet, 48)

    def exchange(index):
        with Client(bound.address) as client:
            commands = [("SET", f"p:{index}:{n}", b"v" * 100) if n % 4 == 0
                        else ("GET", f"p:{index}:{n - n % 4}") for n in range(20_000)]
            data = b"".join(encode(*command) for command in commands)
            sender = threading.Thread(target=client.send_raw, args=(data,))
            sender.start()
            for command in commands:
                reply = client.reply()
                assert reply == ("OK" if command[0] == "SET" else b"v" * 100), command
            sender.join()
    together(8, exchange)
    bound.check("pipelines of 20,000 commands, 8 clients")


def test_many_pending_transactions_and_scripts(fleet):
    bound = Bound(fleet, 48)

    def exchange(index):
        with Client(bound.address) as client:
            for n in range(30):
                client.send("MULTI")
                for _ in range(50):
                    client.send("SET", f"t:{index}:{n}", b"v" * 10_000)
                client.send("EXEC")
                assert len([client.reply() for _ in range(52)][-1]) == 50
                assert client("EVAL", "return string.rep('x', 100000)", 0) == b"x" * 100_000
    together(8, exchange)
    bound.check("transactions and scripts, 8 clients")


# ---- refused at start ----------------------------------------------------------------------------

def refused(arguments, before=()):
    """What weir says when it does not start."""
    done = subprocess.run([*before, WEIR, "serve", "--listen", "127.0.0.1:0", "--admin", "off",
                           "--store", "redis://127.0.0.1:1", *arguments], capture_output=True,
                          text=True, timeout=60, check=False)
    assert done.returncode in (1, 2), done.stderr
    return done.stderr


@pytest.mark.parametrize("memory", ["1mb", "8mb", "16mb"])
def test_too_small_is_refused_with_what_would_do(memory):
    words = refused(["--memory", memory, "--threads", "4"])
    enough = re.search(r"(\d+) MB would do", words)
    assert "memory" in words and enough and int(enough[1]) > 16, words


def test_more_than_the_machine_is_refused():
    words = refused(["--memory", "100000gb"])
    assert "memory" in words


@pytest.fixture
def cgroup():
    """A memory cgroup of 64 MB of our own, below the one we are in."""
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            root, limit = Path("/sys/fs/cgroup/memory" + path), "memory.limit_in_bytes"
        elif not controllers and "memory" in _controllers(Path("/sys/fs/cgroup" + path)):
            root, limit = Path("/sys/fs/cgroup" + path), "memory.max"
        else:
            continue
        group = root / f"weir-test-{os.getpid()}"
        try:
            group.mkdir()
            (group / limit).write_text(str(64 * MIB))
        except OSError:
            if group.exists():
                group.rmdir()
            continue
        yield group
        wait_until(lambda: not (group / "cgroup.procs").read_text())
        group.rmdir()
        return
    pytest.skip("may not make a memory cgroup here")


def _controllers(group):
    try:
        return (group / "cgroup.subtree_control").read_text().split()
    except OSError:
        return []


def test_more_than_the_cgroup_is_refused(cgroup):
    inside = [shutil.which("sh"), "-c", f'echo $$ > {cgroup}/cgroup.procs && exec "$@"', "sh"]
    words = refused(["--memory", "128mb", "--threads", "1"], before=inside)
    assert "cgroup" in words and "64" in words, words
