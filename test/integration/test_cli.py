"""The command line of build/weir (or $WEIR): what it prints, its exit status, its signals."""
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
WEIR = os.environ.get("WEIR") or str(ROOT / "build" / "weir")
DEADLINE = 60.0


def weir(*arguments, **options):
    return subprocess.run([WEIR, *arguments], capture_output=True, text=True, timeout=DEADLINE,
                          **options)


def until(condition, what):
    end = time.monotonic() + DEADLINE
    while not (value := condition()):
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.01)
    return value


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


class Serve:
    """A running `weir serve`, its output in two files."""

    def __init__(self, directory, *arguments, listen="127.0.0.1:0", **options):
        self.out, self.err = directory / "out", directory / "err"
        if listen:
            arguments = ["--listen", listen, *arguments]
        with open(self.out, "w") as out, open(self.err, "w") as err:
            self.process = subprocess.Popen(
                [WEIR, "serve", "--admin", "off", "--memory", "64mb", *arguments], stdout=out,
                stderr=err, stdin=subprocess.DEVNULL, **options)
        until(lambda: "stop " in self.banner() or self.process.poll() is not None, "the banner")
        assert self.process.poll() is None, self.log()

    def banner(self):
        return self.out.read_text()

    def log(self):
        return self.err.read_text()

    def store_pid(self):
        return int(re.search(r"private redis-server was started \(pid (\d+)\)", self.banner())[1])

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self):
        return self.process.wait(DEADLINE)

    def stop(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


@pytest.fixture
def serve(tmp_path):
    started = []

    def start(*arguments, **options):
        started.append(Serve(tmp_path, *arguments, **options))
        return started[-1]

    yield start
    for one in started:
        one.stop()


# ---- words


def test_version_and_help():
    assert re.fullmatch(r"weir \d+\.\d+\.\d+\n", weir("--version").stdout)
    everything = weir("help")
    assert everything.returncode == 0
    for command in ("serve", "check", "stat", "help", "completion", "man"):
        assert f"\n  {command}" in everything.stdout
        one = weir("help", command)
        assert one.returncode == 0 and one.stdout.startswith(f"usage: weir {command}")
        assert weir(command, "--help").stdout == one.stdout
    assert weir("--help").stdout == everything.stdout
    assert weir().returncode == 2
    assert max(map(len, everything.stdout.splitlines())) <= 100
    directives = weir("help", "directives").stdout
    assert "slowlog-log-slower-than MICROSECONDS" in directives and "max-stale TIME" in directives


@pytest.mark.parametrize("arguments, words", [
    (["serv"], "'serv' is not a command, did you mean 'serve'?"),
    (["xyzzy"], "'xyzzy' is not a command; `weir help` lists them"),
    (["help", "chekc"], "did you mean 'check'?"),
    (["serve", "--memroy", "1"], "serve knows no --memroy, did you mean --memory?"),
    (["serve", "--memory"], "--memory needs a value"),
    (["serve", "-z"], "serve knows no -z"),
    (["serve", "a", "b"], "'b' is one argument too many"),
    (["stat", "--interval", "never"], "'never' is not a time"),
    (["stat", "--count", "0"], "'0' is not a number of lines"),
    (["check"], "check needs a file"),
    (["completion", "fish"], "bash or zsh"),
    (["man", "weir.config"], "there is no page"),
])
def test_misunderstood(arguments, words):
    run = weir(*arguments)
    assert run.returncode == 2 and words in run.stderr and not run.stdout


def test_check(tmp_path):
    path = tmp_path / "weir.conf"
    path.write_text("memory 1gb\ncache {\n max-stale 2s\n}\n")
    run = weir("check", str(path))
    assert (run.returncode, run.stdout, run.stderr) == (0, f"{path}: ok\n", "")
    path.write_text("memory 1gb\n\nmemroy 2gb\nthreads many\n")
    run = weir("check", "weir.conf", cwd=tmp_path)
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr == ("weir.conf:3: unknown directive 'memroy', did you mean 'memory'?\n"
                          "weir.conf:4: threads: 'many' is not a number\n")
    assert weir("check", str(tmp_path)).returncode == 1
    assert weir("serve", str(path)).returncode == 1
    path.write_text("memory 1gb\n")
    assert weir("serve", str(path), "--check", "-o", "timeout 5").returncode == 0
    run = weir("serve", str(path), "--check", "-o", "timeout x")
    assert run.returncode == 1 and run.stderr.startswith("-o: timeout: 'x' is not a time")


def test_manual_pages_are_the_program_s():
    for page, name in (("weir", "weir.1"), ("weir.conf", "weir.conf.5")):
        printed = weir("man", page).stdout
        assert printed == (ROOT / "man" / name).read_text(), \
            f"print it again: build/weir man {page} > man/{name}"


@pytest.mark.skipif(not shutil.which("groff"), reason="no groff")
def test_manual_pages_are_good_roff():
    for page in ("weir", "weir.conf"):
        run = subprocess.run(["groff", "-man", "-ww", "-Kutf8", "-Tutf8", "-z"], text=True,
                             input=weir("man", page).stdout, capture_output=True)
        assert (run.returncode, run.stderr) == (0, "")


def complete(*words):
    """What bash offers for the last of `words`."""
    script = ('source <("$WEIR" completion bash); COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _weir; '
              'echo "${COMPREPLY[*]}"')
    run = subprocess.run(["bash", "-c", script, "bash", "weir", *words], text=True, check=True,
                         capture_output=True, env={**os.environ, "WEIR": WEIR})
    assert not run.stderr
    return run.stdout.split()


def test_completion_in_bash():
    assert complete("s") == ["serve", "stat"]
    assert complete("serve", "--m") == ["--memory"]
    assert complete("serve", "-o", "tcp") == ["tcp-keepalive", "tcp-backlog"]
    assert complete("serve", "--cache", "") == ["on", "off"]
    assert complete("help", "di") == ["directives"]
    assert complete("completion", "") == ["bash", "zsh"]
    assert "--json" in complete("stat", "-")


@pytest.mark.skipif(not shutil.which("zsh"), reason="no zsh")
def test_completion_in_zsh():
    subprocess.run(["zsh", "-n"], input=weir("completion", "zsh").stdout, text=True, check=True)


# ---- serve


def test_private_store_lives_and_ends_with_weir(serve, tmp_path):
    one = serve(env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)})
    pid = one.store_pid()
    assert alive(pid)
    (directory,) = tmp_path.glob("weir-*")
    assert directory.stat().st_mode & 0o777 == 0o700
    ping = subprocess.run(["redis-cli", "-s", str(directory / "redis.sock"), "ping"],
                          capture_output=True, text=True)
    assert ping.stdout == "PONG\n"
    one.signal(signal.SIGTERM)
    assert one.wait() == 0, one.log()
    assert not alive(pid) and not directory.exists()


def test_private_store_dies_when_weir_is_killed(serve):
    one = serve()
    pid = one.store_pid()
    one.signal(signal.SIGKILL)
    one.wait()
    until(lambda: not alive(pid), "the private redis-server to end")


def test_a_private_store_that_dies_young_ends_weir(serve):
    one = serve()
    os.kill(one.store_pid(), signal.SIGKILL)
    assert one.wait() == 1
    assert "the private redis-server ended, its data is lost" in one.log()


def test_no_redis_server_on_path(tmp_path):
    run = weir("serve", "--listen", "127.0.0.1:0", "--admin", "off",
               env={**os.environ, "PATH": str(tmp_path)})
    assert run.returncode == 1
    assert "apt install redis-server" in run.stderr and "--store redis://host:6379" in run.stderr


def test_a_redis_server_that_does_not_start(tmp_path):
    fake = tmp_path / "redis-server"
    fake.write_text("#!/bin/sh\necho 'Fatal: no luck today' >&2\nexit 3\n")
    fake.chmod(0o755)
    runtime = tmp_path / "run"
    runtime.mkdir()
    run = weir("serve", "--listen", "127.0.0.1:0", "--admin", "off",
               env={**os.environ, "PATH": f"{tmp_path}:/usr/bin:/bin",
                    "XDG_RUNTIME_DIR": str(runtime)})
    assert run.returncode == 1
    assert "exit status 3" in run.stderr and "no luck today" in run.stderr
    assert not list(runtime.iterdir())


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def redis_cli(port, *words, **environment):
    run = subprocess.run(["redis-cli", "-p", str(port), *words], capture_output=True, text=True,
                         env={**os.environ, **environment}, timeout=DEADLINE)
    return run.stdout.strip()


def test_a_store_with_a_password_that_is_shown_nowhere(serve, tmp_path):
    port, store_port = free_port(), free_port()
    store = subprocess.Popen(["redis-server", "--port", str(store_port), "--save", "",
                              "--requirepass", "s3cret#\"", "--dir", str(tmp_path)],
                             stdout=subprocess.DEVNULL)
    try:
        until(lambda: "NOAUTH" in redis_cli(store_port, "ping"), "redis-server")
        url = "redis://:${STORE_PASSWORD}@127.0.0.1:%d" % store_port
        secret = tmp_path / "secret"
        secret.write_text("hunter2\n")
        one = serve("--store", url, "-o", f"requirepass-file {secret}",
                    listen=f"127.0.0.1:{port}",
                    env={**os.environ, "STORE_PASSWORD": "s3cret%23\""})
        assert "NOAUTH" in redis_cli(port, "get", "key")
        until(lambda: redis_cli(port, "set", "key", "value", REDISCLI_AUTH="hunter2") == "OK",
              "an answer through weir")
        assert redis_cli(store_port, "get", "key", REDISCLI_AUTH="s3cret#\"") == "value"
        shown = redis_cli(port, "config", "get", "weir-*", REDISCLI_AUTH="hunter2")
        assert f"redis://:***@127.0.0.1:{store_port}" in shown
        stat = weir("stat", f"127.0.0.1:{port}", "-i", "50ms", "-n", "1",
                    env={**os.environ, "REDISCLI_AUTH": "hunter2"})
        assert stat.returncode == 0, stat.stderr
        command_line = Path(f"/proc/{one.process.pid}/cmdline").read_text()
        for text in (shown, one.banner(), one.log(), command_line):
            assert "s3cret" not in text and "hunter2" not in text
        one.signal(signal.SIGTERM)
        assert one.wait() == 0
    finally:
        store.terminate()
        store.wait()


def test_int_stops_at_once(serve):
    one = serve()
    one.signal(signal.SIGINT)
    assert one.wait() == 0, one.log()
    assert "stopping now" in one.log() and "draining" not in one.log()


def test_hup_reloads_and_refuses(serve, tmp_path):
    config = tmp_path / "weir.conf"
    log = tmp_path / "weir.log"
    config.write_text(f"timeout 5\nlogfile {log}\n")
    one = serve(str(config))

    def hup():
        one.signal(signal.SIGHUP)

    until(lambda: log.exists() and "serving" in log.read_text(), "the log")
    config.write_text(f"timeout 7\ntcp-backlog 99\nlogfile {log}\n")
    hup()
    until(lambda: "configuration reloaded" in log.read_text(), "the reload")
    assert 'these changes wait for a restart" directives="tcp-backlog"' in log.read_text()
    config.write_text(f"timeout 7\nmemroy 1gb\nlogfile {log}\nthreads x\n")
    hup()
    until(lambda: "threads: 'x' is not a number" in log.read_text(), "the refusal")
    assert "reload refused, nothing has changed" in log.read_text()
    assert f"{config}:2: unknown directive 'memroy', did you mean 'memory'?" in log.read_text()
    log.rename(tmp_path / "old.log")  # rotation
    config.write_text(f"timeout 7\nlogfile {log}\n")
    hup()
    until(lambda: log.exists() and "configuration reloaded" in log.read_text(), "the new log")
    assert one.process.poll() is None
    one.signal(signal.SIGTERM)
    assert one.wait() == 0


def test_limits_are_refused_with_what_would_do():
    run = weir("serve", "--listen", "127.0.0.1:0", "--admin", "off", "--memory", "9tb")
    assert run.returncode == 1 and "memory 9tb is more than this process may have" in run.stderr
    assert re.search(r"set `memory \d+mb` or less", run.stderr)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may raise its own limits")
def test_descriptors_are_refused_with_what_would_do():
    run = subprocess.run(["bash", "-c", f"ulimit -n 1024; exec '{WEIR}' serve --admin off "
                          "--listen 127.0.0.1:0"], capture_output=True, text=True)
    assert run.returncode == 1 and "maxclients 10000 needs" in run.stderr


def test_a_log_that_cannot_be_opened():
    run = weir("serve", "--admin", "off", "-o", "logfile /nonexistent/weir.log")
    assert run.returncode == 1 and "/nonexistent/weir.log cannot be opened" in run.stderr


# ---- stat


class FakeWeir:
    """Answers INFO with one text after the other, the last one for ever."""

    def __init__(self, *texts, password=None):
        self.texts, self.password = list(texts), password
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        connection, _ = self.listener.accept()
        with connection, contextlib.suppress(ConnectionError):
            self.answer(connection)

    def answer(self, connection):
        known = self.password is None
        while request := connection.recv(4096):
            if b"AUTH" in request:
                known = self.password.encode() in request
                reply = b"+OK\r\n" if known else b"-WRONGPASS no\r\n"
            elif not known:
                reply = b"-NOAUTH Authentication required.\r\n"
            else:
                text = self.texts.pop(0) if len(self.texts) > 1 else self.texts[0]
                reply = text if isinstance(text, bytes) else \
                    b"$%d\r\n%s\r\n" % (len(text), text.encode())
            for byte in range(0, len(reply), 7):  # in pieces
                connection.sendall(reply[byte:byte + 7])


def info(requests, hits, misses):
    return ("# Weir\r\nweir_version:1\r\nready:1\r\nclients:3\r\nclients_blocked:9\r\n"
            f"requests_total:{requests}\r\nstore_requests_total:{misses}\r\n"
            f"cache_hits_total:{hits}\r\ncache_misses_total:{misses}\r\n"
            "cache_fills_total:0\r\ncache_kills_total:0\r\nreceived_bytes_total:0\r\n"
            "sent_bytes_total:0\r\nlatency_hit_usec:p50=1.0,p99=12.5,p999=99.0,count=9\r\n"
            "memory_limit:67108864\r\nrss:33554432\r\n")


def test_stat_prints_rates():
    fake = FakeWeir(info(1000, 0, 0), info(2000, 750, 250), info(2000, 750, 250))
    run = weir("stat", fake.address, "--interval", "200ms", "--count", "2")
    assert run.returncode == 0, run.stderr
    header, first, second = run.stdout.splitlines()
    assert header.split()[:2] == ["ops/s", "hit%"] and len(header) == len(first) == len(second)
    ops, ratio, hits, misses, *_ = first.split()
    assert 0 < float(ops) <= 5000 and ratio == "75.0"
    assert float(hits) == pytest.approx(3 * float(misses), rel=0.01)
    assert first.split()[-1] == "32/64mb" and "12.5" in first.split()
    assert first.split()[-2] == "-"  # no latency of the store is reported
    assert second.split()[0] == "0"


def test_stat_as_json():
    fake = FakeWeir(info(0, 0, 0), info(1000, 1, 1))
    run = weir("stat", fake.address, "-i", "50ms", "-n", "1", "--json")
    line = json.loads(run.stdout)
    assert 0 < line["ops_per_s"] <= 20000 and line["clients"] == 3
    assert line["hit_ratio"] == 0.5 and line["p99_store_us"] is None


def test_stat_leaves_out_a_restart():
    fake = FakeWeir(info(5000, 0, 0), info(10, 0, 0), info(20, 0, 0))
    run = weir("stat", fake.address, "-i", "50ms", "-n", "1", "--json")
    assert 0 < json.loads(run.stdout)["ops_per_s"] <= 200


@pytest.mark.parametrize("reply, words", [
    ("# Server\r\nredis_version:7.0.15\r\n", "is not a weir"),
    (b"-ERR unknown command\r\n", "answers: ERR unknown command"),
    (b"*1\r\n$1\r\na\r\n", ""),
    (b"$99999999999999999999\r\n", ""),
    (b"$-1\r\n", ""),
    (b"x" * 70000 + b"\r\n", ""),
], ids=["another server", "an error", "an array", "a huge length", "nothing", "an endless line"])
def test_stat_of_something_else(reply, words):
    fake = FakeWeir(reply)
    run = weir("stat", fake.address, "-n", "1")
    assert run.returncode == 1 and run.stderr.startswith("weir: ") and not run.stdout
    assert words in run.stderr


def test_stat_password():
    assert "set REDISCLI_AUTH" in weir("stat", FakeWeir(info(0, 0, 0), password="pw").address).stderr
    environment = {**os.environ, "REDISCLI_AUTH": "pw"}
    run = weir("stat", FakeWeir(info(0, 0, 0), password="pw").address, "-i", "10ms", "-n", "1",
               env=environment)
    assert run.returncode == 0, run.stderr
    run = weir("stat", FakeWeir(info(0, 0, 0), password="other").address, env=environment)
    assert run.returncode == 1 and "refuses the password" in run.stderr


def test_stat_of_nobody():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    run = weir("stat", f"127.0.0.1:{port}")
    assert run.returncode == 1 and "is `weir serve` running?" in run.stderr
