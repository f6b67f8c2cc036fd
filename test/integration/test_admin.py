"""The admin listener over real sockets, against the fake proxy that test_admin serves."""
import html
import http.client
import http.server
import json
import math
import os
import re
import shutil
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SERVER = Path(os.environ.get("WEIR", ROOT / "build" / "weir")).parent / "test_admin"


class Admin:
    def __init__(self, scene="calm"):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.process = subprocess.Popen([SERVER, "--serve", f"127.0.0.1:{self.port}", scene],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "serving\n"

    def ask(self, path, method="GET", host=None, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request(method, path, body=body, headers={"Host": host} if host else {})
        answer = connection.getresponse()
        answer.text = answer.read().decode()
        connection.close()
        return answer

    def json(self, path):
        answer = self.ask(path)
        assert answer.status == 200 and answer.getheader("Content-Type") == "application/json"
        return json.loads(answer.text)

    def wait_history(self, seq):
        for _ in range(200):
            stats = self.json("/api/stats")
            if stats["seq"] >= seq:
                return stats
            time.sleep(.05)
        raise AssertionError("the history does not grow")

    def rss_kb(self):
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1])

    def stop(self):
        self.process.stdin.close()
        assert self.process.wait(timeout=20) == 0


@pytest.fixture(scope="module")
def admin():
    assert SERVER.is_file(), f"{SERVER} is not built"
    running = Admin()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def down():
    running = Admin("down")
    yield running
    running.stop()


# ---- a strict reader of the text exposition format -------------------------------------------------

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"')
SAMPLE = re.compile(rf"({NAME})(?:\{{(.*)\}})? (\S+)")
SUFFIXES = {"histogram": {"_bucket", "_sum", "_count"}, "counter": {""}, "gauge": {""}}


def parse_labels(text):
    labels, at = {}, 0
    while at < len(text):
        match = LABEL.match(text, at)
        assert match, f"label at {text[at:]!r}"
        assert match[1] not in labels, f"label {match[1]} twice"
        labels[match[1]] = match[2]
        at = match.end()
        if at < len(text):
            assert text[at] == "," and at + 1 < len(text), f"after label: {text[at:]!r}"
            at += 1
    return labels


def parse_metrics(text):
    """{family: (type, help, {(name, labels): value})}; fails on whatever Prometheus would refuse."""
    assert text.endswith("\n") and "\n\n" not in text and "\r" not in text
    families, current, helped = {}, None, None
    for line in text[:-1].split("\n"):
        if line.startswith("# HELP "):
            _, _, current, words = line.split(" ", 3)
            assert re.fullmatch(NAME, current) and current not in families and words
            helped = words
            continue
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name == current and name not in families and kind in SUFFIXES
            families[name] = (kind, helped, {})
            continue
        match = SAMPLE.fullmatch(line)
        assert match, f"sample {line!r}"
        kind, _, samples = families[current]
        assert match[1][:len(current)] == current and match[1][len(current):] in SUFFIXES[kind]
        assert re.fullmatch(r"-?\d+(\.\d+)?", match[3]), f"value {match[3]!r}"
        key = (match[1], tuple(sorted(parse_labels(match[2] or "").items())))
        assert key not in samples, f"{key} twice"
        samples[key] = float(match[3])
    return families


def check_histogram(name, samples):
    series = {}
    for (sample, labels), value in samples.items():
        bare = tuple(pair for pair in labels if pair[0] != "le")
        entry = series.setdefault(bare, {"buckets": []})
        if sample == name + "_bucket":
            entry["buckets"].append((float(dict(labels)["le"]), value))
        else:
            entry[sample[len(name):]] = value
    for bare, entry in series.items():
        bounds = [bound for bound, _ in entry["buckets"]]
        counts = [count for _, count in entry["buckets"]]
        assert bounds == sorted(set(bounds)) and bounds[-1] == math.inf, bare
        assert counts == sorted(counts) and counts[-1] == entry["_count"], bare
        assert entry["_sum"] >= 0 and len(bounds) <= 24
    return series


def test_parser_refuses_nonsense():
    good = '# HELP a b\n# TYPE a gauge\na{x="1"} 1\n'
    assert parse_metrics(good)
    for bad in (good[:-1], good + 'a{x="1"} 2\n', good + good, 'a 1\n', good.replace(" 1\n", " x\n"),
                good.replace('"1"', '"1'), good.replace("gauge", "thing"), good + "b 1\n",
                good.replace('x="1"', 'x="1",'), good.replace('"1"', '"\\q"')):
        with pytest.raises((AssertionError, KeyError)):
            parse_metrics(bad)


# ---- /metrics --------------------------------------------------------------------------------------

def test_metrics_are_valid(admin):
    answer = admin.ask("/metrics")
    assert answer.status == 200
    assert answer.getheader("Content-Type") == "text/plain; version=0.0.4; charset=utf-8"
    families = parse_metrics(answer.text)
    for name, (kind, words, samples) in families.items():
        assert name.startswith("weir_") and (kind == "counter") == name.endswith("_total"), name
        assert words and samples, name
        if kind == "histogram":
            assert name.endswith("_seconds")
            check_histogram(name, samples)
    wanted = {"weir_command_duration_seconds", "weir_memory_bytes", "weir_memory_limit_bytes",
              "weir_node_up", "weir_build_info", "weir_cache_hits_total", "weir_clients"}
    assert wanted <= set(families)


def test_metrics_values(admin):
    families = parse_metrics(admin.ask("/metrics").text)
    samples = families["weir_memory_bytes"][2]
    parts = {dict(labels)["part"] for _, labels in samples}
    assert "cache log" in parts
    for part in parts:
        used = samples["weir_memory_bytes", (("kind", "used"), ("part", part))]
        assert used <= samples["weir_memory_bytes", (("kind", "total"), ("part", part))]
    assert families["weir_node_up"][2]["weir_node_up", (("node", "127.0.0.1:6379"),)] == 1
    series = check_histogram("weir_command_duration_seconds",
                             families["weir_command_duration_seconds"][2])
    hits = series[("command", "get"), ("node", "cache")]
    assert 0 < hits["_sum"] / hits["_count"] < 1e-4 # seconds, not micro- or nanoseconds


def test_counters_only_grow(admin):
    before = parse_metrics(admin.ask("/metrics").text)
    after = parse_metrics(admin.ask("/metrics").text)
    for name, (kind, _, samples) in before.items():
        if kind == "counter":
            for key, value in samples.items():
                assert after[name][2][key] >= value


# ---- health ----------------------------------------------------------------------------------------

def test_health(admin, down):
    assert (admin.ask("/healthz").status, admin.ask("/healthz").text) == (200, "ok\n")
    assert down.ask("/healthz").status == 200
    assert admin.ask("/readyz").status == 200
    answer = down.ask("/readyz")
    assert answer.status == 503 and "127.0.0.1:6379 is down" in answer.text


# ---- JSON ------------------------------------------------------------------------------------------

def test_stats(admin):
    stats = admin.wait_history(2)
    assert stats["ready"] and stats["version"] and stats["listen"] == "127.0.0.1:6380"
    assert 0.9 < stats["hit_ratio"] <= 1
    assert stats["metrics"]["cache_hits_total"] > 0
    assert stats["memory"]["rss_bytes"] < stats["memory"]["limit_bytes"]
    assert len(stats["thread_busy"]) == stats["threads"] == 2
    assert stats["nodes"][0]["state"] == "up"
    for row in stats["commands"]:
        assert row["count"] > 0
        assert row["p50_us"] <= row["p99_us"] <= row["p999_us"] <= row["p9999_us"]
    rows = len(stats["heat_bounds_us"])
    assert stats["heat_bounds_us"] == sorted(stats["heat_bounds_us"])
    for second in stats["history"]:
        heat = dict(zip(second["heat"][::2], second["heat"][1::2]))
        assert all(0 <= row < rows and count > 0 for row, count in heat.items())


def test_stats_since(admin):
    stats = admin.wait_history(3)
    seqs = [second["seq"] for second in stats["history"]]
    assert seqs == list(range(seqs[0], stats["seq"] + 1))
    later = admin.json(f"/api/stats?since={stats['seq'] - 1}")
    assert later["history"][0]["seq"] == stats["seq"] and "heat_bounds_us" not in later
    assert admin.json("/api/stats?since=9999999999")["history"][0]["seq"] == 1
    for nonsense in ("x", "-1", "1e3", "", "99999999999999999999"):
        assert admin.ask(f"/api/stats?since={nonsense}").status == 400


def test_stats_of_a_lost_store(down):
    stats = down.json("/api/stats")
    assert not stats["ready"] and "down" in stats["not_ready_because"]
    assert stats["nodes"][0]["state"] == "down"
    assert stats["nodes"][0]["cache_state"].startswith("off: ")


def test_slowlog(admin):
    entries = admin.json("/api/slowlog")["entries"]
    ids = [entry["id"] for entry in entries]
    assert ids == sorted(ids, reverse=True) and len(ids) >= 3
    assert "secret" not in admin.ask("/api/slowlog").text


def test_config(admin):
    text = admin.ask("/api/config").text
    names = {directive["name"] for directive in json.loads(text)["directives"]}
    assert {"memory", "listen", "requirepass"} <= names
    assert "hunter2" not in text and "geheim" not in text


# ---- HTTP ------------------------------------------------------------------------------------------

PATHS = ("/", "/page.css", "/page.js", "/icon.svg", "/metrics", "/healthz", "/readyz", "/api/stats",
         "/api/slowlog", "/api/config", "/nothing")


@pytest.mark.parametrize("path", PATHS)
def test_security_headers(admin, path):
    answer = admin.ask(path)
    assert "default-src 'self'" in answer.getheader("Content-Security-Policy")
    assert "unsafe" not in answer.getheader("Content-Security-Policy")
    assert answer.getheader("X-Content-Type-Options") == "nosniff"
    assert answer.getheader("Referrer-Policy") == "no-referrer"
    assert not [name for name, _ in answer.getheaders() if name.lower().startswith("access-control")]


def test_unknown_paths(admin):
    for path in ("/nothing", "/api", "/api/", "/api/stats/", "/metrics/x", "//", "/%2e%2e/etc/passwd",
                 "/index.html%00", "/" + "a" * 4000):
        assert admin.ask(path).status == 404, path


def test_methods(admin):
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"):
        answer = admin.ask("/api/stats", method=method, body="x" if method != "TRACE" else None)
        assert answer.status == 405 and answer.getheader("Allow") == "GET, HEAD"
    for path in PATHS:
        head, get = admin.ask(path, method="HEAD"), admin.ask(path)
        assert (head.status, head.text) == (get.status, "")
        assert head.getheader("Content-Type") == get.getheader("Content-Type")


def test_host_header(admin):
    for host in ("localhost", "127.0.0.1", "[::1]"):
        assert admin.ask("/healthz", host=f"{host}:{admin.port}").status == 200
    for host in ("evil.example", f"evil.example:{admin.port}", "localhost", f"localhost:{admin.port}0"):
        for path in PATHS:
            answer = admin.ask(path, host=host)
            assert answer.status == 403 and "localhost" in answer.text and "evil" not in answer.text


def test_page_is_small_and_loads_only_itself(admin):
    texts = {path: admin.ask(path).text for path in ("/", "/page.css", "/page.js", "/icon.svg")}
    assert sum(len(text.encode()) for text in texts.values()) < 60 * 1024
    page = texts["/"]
    for link in re.findall(r'(?:src|href)="([^"]+)"', page):
        assert link in texts or link in PATHS, link
    assert not re.search(r"<style|style=|\son\w+=|<script>|javascript:", page)
    assert "http" not in re.sub(r"http://www\.w3\.org/\S+", "", texts["/page.js"] + texts["/page.css"])
    assert "innerHTML" not in texts["/page.js"] and "eval(" not in texts["/page.js"]


def test_keep_alive(admin):
    connection = http.client.HTTPConnection("127.0.0.1", admin.port, timeout=10)
    connection.connect()
    first = connection.sock
    for _ in range(5):
        connection.request("GET", "/api/stats?since=1")
        assert connection.getresponse().read()
        assert connection.sock is first
    connection.close()


@pytest.mark.parametrize("bytes_", [
    b"\0" * 5000, b"GET " + b"x" * 100000, b"GET / HTTP/1.1\r\n" + b"X: " + b"y" * 200000,
    b"*1\r\n$4\r\nPING\r\n", b"GET / HTTP/9.9\r\n\r\n", b"POST / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFF\r\n",
], ids=["zeros", "long line", "long header", "redis", "version", "huge body", "huge chunk"])
def test_hostile_bytes(admin, bytes_):
    with socket.create_connection(("127.0.0.1", admin.port), timeout=2) as peer:
        try:
            peer.sendall(bytes_)
            peer.shutdown(socket.SHUT_WR)
            while peer.recv(65536):
                pass
        except OSError:
            pass
    assert admin.ask("/healthz").status == 200


def test_slow_readers_leave_health_alone():
    """Peers that ask for much and read nothing: 503 for large answers at worst, and no growth."""
    admin = Admin()
    peers = []
    try:
        admin.ask("/metrics")
        before = admin.rss_kb()
        for _ in range(24):
            peer = socket.socket()
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            peer.connect(("127.0.0.1", admin.port))
            request = f"GET /metrics HTTP/1.1\r\nHost: localhost:{admin.port}\r\n\r\n".encode()
            peer.sendall(request * 50)
            peers.append(peer)
        time.sleep(.5)
        assert admin.ask("/healthz").status == 200
        assert admin.ask("/metrics").status in (200, 503)
        assert admin.rss_kb() - before < 8 * 1024
    finally:
        for peer in peers:
            peer.close()
    for _ in range(100):
        if admin.ask("/metrics").status == 200:
            break
        time.sleep(.05)
    assert admin.ask("/metrics").status == 200 # the buffers came back
    admin.stop()


def test_many_at_once(admin):
    statuses = []

    def work():
        for _ in range(20):
            for path in ("/api/stats", "/metrics", "/"):
                statuses.append(admin.ask(path).status)

    workers = [threading.Thread(target=work) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(statuses) == 480 and set(statuses) <= {200, 503}
    assert statuses.count(200) > 400


needs_browser = pytest.mark.skipif(not shutil.which("chromium"), reason="needs chromium")


def browse(port, profile, milliseconds):
    """The page after so much of its own time, and what its console said."""
    run = subprocess.run(
        ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync",
         f"--user-data-dir={profile}", "--enable-logging=stderr", f"--virtual-time-budget={milliseconds}",
         "--dump-dom", f"http://127.0.0.1:{port}/"], capture_output=True, text=True, timeout=60)
    assert "NaN" not in run.stdout and "undefined" not in run.stdout
    return run.stdout, [line for line in run.stderr.split("\n") if "CONSOLE" in line]


def words_of(page):
    return html.unescape(re.sub(r"<[^>]*>", "", page))


@needs_browser
@pytest.mark.parametrize("scene, words", [
    ("calm", "of reads answered from memory; store 127.0.0.1:6379 is up."),
    ("down", "Not ready: store 127.0.0.1:6379 is down"),
    ("cache-off", "the near cache is off: the store is 6.0.16"),
    ("idle", "Ready for clients on 127.0.0.1:6380"),
])
def test_page_in_a_browser(scene, words, tmp_path):
    """The page draws each state, and its console stays silent (no error, nothing refused by the CSP)."""
    admin = Admin(scene)
    admin.wait_history(2)
    page, console = browse(admin.port, tmp_path, 3000)
    admin.stop()
    assert words in words_of(page) and console == []


class Interrupted(http.server.BaseHTTPRequestHandler):
    """Stands where weir does: `first` for three polls, nothing for three, then `second` (or nothing)."""
    polls, first, second = 0, None, None

    def do_GET(self):
        if self.path.startswith("/api/stats"):
            Interrupted.polls += 1
        admin = self.first if self.polls <= 3 else None if self.polls <= 6 else self.second
        if not admin:
            self.send_error(502)
            return
        answer = admin.ask(self.path)
        body = answer.text.encode()
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.getheader("Content-Type"))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@needs_browser
@pytest.mark.parametrize("comes_back", [True, False])
def test_page_outlives_a_restart(comes_back, tmp_path):
    first, second = Admin("calm"), Admin("idle")
    first.wait_history(3)
    Interrupted.polls, Interrupted.first = 0, first
    Interrupted.second = second if comes_back else None
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Interrupted) as between:
        threading.Thread(target=between.serve_forever).start()
        page, _ = browse(between.server_port, tmp_path, 15000)
        between.shutdown()
    first.stop()
    second.stop()
    warning = re.search(r'<p id="lost"[^>]*>', page)[0]
    assert Interrupted.polls > 7
    if comes_back:
        assert "hidden" in warning and "Ready for clients" in words_of(page)
        assert "no requests in the last four minutes" in words_of(page) # none of the first's history
    else:
        assert "hidden" not in warning and "What stands below is from before" in words_of(page)
        assert "of reads answered from memory" in words_of(page)
