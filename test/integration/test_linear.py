"""Linearizability: histories of a concurrent load, with faults, judged per key by linear_check.

The judge is tried first: on written histories, against a brute-force search on small random ones, on
plain Redis (which is linearizable), and on caching proxies that are wrong on purpose.

LINEAR_OPERATIONS (100000) is for the run with faults; WEIR_SOAK_SECONDS makes it a run of that long.
"""
import itertools
import os
import random
import re
import signal
import subprocess
import sys
import threading

import pytest

from lib.servers import ROOT, sanitized

sys.path.insert(0, str(ROOT / "test" / "linear"))
import toy  # noqa: E402

HISTORIES = sorted((ROOT / "test" / "linear" / "histories").glob("*.txt"))
OPERATIONS = int(os.environ.get("LINEAR_OPERATIONS", 20000 if sanitized() else 100000))
SOAK_SECONDS = int(os.environ.get("WEIR_SOAK_SECONDS", 0))


@pytest.fixture(scope="session")
def tools(tmp_path_factory):
    """The two programs, compiled here: weir's build may be a sanitizer's, theirs should be quick."""
    directory = tmp_path_factory.mktemp("linear")
    for name in ("check", "hammer"):
        subprocess.run(["gcc", "-std=gnu17", "-D_GNU_SOURCE", "-O2", "-o", str(directory / name),
                        str(ROOT / "test" / "linear" / f"{name}.c"), "-lpthread"], check=True)
    return directory


def judge(tools, path, slack_ms=5):
    """What linear_check says: its exit status and its words."""
    done = subprocess.run([str(tools / "check"), "-s", str(slack_ms), str(path)],
                          capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def hammer(tools, port, history, *options):
    done = subprocess.run([str(tools / "hammer"), "-p", str(port), "-o", str(history),
                           *map(str, options)], capture_output=True, text=True, check=False)
    print(done.stdout + done.stderr)
    assert done.returncode == 0, done.stdout + done.stderr
    return int(re.search(r"(\d+) operations", done.stdout)[1])


def must_be_linearizable(tools, history):
    status, words = judge(tools, history)
    print(words)
    assert status == 0, f"{history}:\n{words[-6000:]}"


# ---- the judge ---------------------------------------------------------------------------------
@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
def test_judge_on_written_histories(tools, path):
    status, words = judge(tools, path)
    assert status == (0 if path.stem.startswith("good") else 1), words


def brute_force(operations):
    """Is there any order of `operations` that is legal and keeps real time? For few of them."""
    def possible(done, state):
        rest = [op for op in operations if op not in done]
        known = [op for op in rest if op["result"] != "?"]
        if not known:
            return True
        bound = min(op["returned"] for op in known)
        for op in rest:
            if op["invoked"] > bound:
                continue
            earlier = [o for o in rest if o["client"] == op["client"] and o["result"] != "?"
                       and o["n"] < op["n"]]
            if earlier and op["result"] != "?":
                continue
            result, after = run(op, state)
            if op["result"] in ("?", result) and possible(done + [op], after):
                return True
        return False
    return possible([], None)


def run(op, state):
    kind, argument = op["kind"], op["argument"]
    if kind == "get":
        return ("nil" if state is None else "=" + state), state
    if kind == "set":
        return "ok", argument
    if kind == "getset":
        return ("nil" if state is None else "=" + state), argument
    if kind == "del":
        return f":{int(state is not None)}", None
    return f":{len((state or '') + argument)}", (state or "") + argument


def random_history(rng):
    """A few operations by a few clients: run in some order, then some results are bent."""
    operations, free, state = [], [0] * 3, None
    for n in range(rng.randint(4, 7)):
        client = rng.randrange(3)
        kind = rng.choice(["get", "get", "get", "set", "del", "append", "getset"])
        argument = rng.choice("ab") if kind in ("set", "append", "getset") else None
        op = {"n": n, "client": client, "kind": kind, "argument": argument}
        at = max(10 * n, free[client])  # it takes effect about here
        op["invoked"] = max(free[client], at - rng.randrange(30))
        op["returned"] = max(op["invoked"], at) + rng.randrange(1, 30)
        free[client] = op["returned"] + 1
        op["result"], state = run(op, state)
        if kind != "get" and rng.random() < 0.15:
            op["result"] = "?"
            state = rng.choice([state, None])
        elif kind == "get" and rng.random() < 0.3:
            op["result"] = rng.choice(["nil", "=a", "=b", "=ab"])
        operations.append(op)
    return operations


def test_judge_against_brute_force(tools, tmp_path):
    rng, verdicts = random.Random(1), {True: 0, False: 0}
    path = tmp_path / "history"
    for _ in range(600):
        operations = random_history(rng)
        path.write_text("".join(
            f"k {op['client']} {op['kind']} {'=' + op['argument'] if op['argument'] else '-'} 0 "
            f"{op['result']} {op['invoked']} {op['returned']}\n" for op in operations))
        expected = brute_force(operations)
        verdicts[expected] += 1
        status, words = judge(tools, path)
        assert status == (0 if expected else 1), path.read_text() + words
    assert min(verdicts.values()) > 100, verdicts  # both kinds were tried


def test_redis_is_linearizable(tools, fleet, tmp_path):
    """Calibration: no false alarm on the real thing, with clients that drop their connections."""
    redis = fleet.redis()
    assert hammer(tools, redis.port, tmp_path / "history", "-n", 40000, "-d", 10) >= 40000
    must_be_linearizable(tools, tmp_path / "history")


@pytest.mark.parametrize("fault", toy.FAULTS)
def test_wrong_proxies_are_caught(tools, fleet, tmp_path, fault):
    redis = fleet.redis()
    with toy.Toy(redis.address, fault) as wrong:
        hammer(tools, wrong.port, tmp_path / "history", "-P", "-n", 6000, "-c", 8, "-k", 6)
    status, words = judge(tools, tmp_path / "history")
    assert status == 1, words


# ---- weir --------------------------------------------------------------------------------------
class Faults(threading.Thread):
    """Restarts the store, cuts its connections, and lets it freeze for a moment, until stopped."""

    def __init__(self, redis, pause):
        super().__init__(daemon=True)
        self.redis, self.pause = redis, pause
        self.over = threading.Event()
        self.counts = dict.fromkeys(("restart", "cut", "freeze"), 0)
        self.error = None

    def cut(self):
        with self.redis.client() as client:
            client("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    def restart(self):
        self.redis.kill()
        self.redis.restart()

    def freeze(self):

        self.redis.signal(signal.SIGSTOP)
        self.over.wait(0.3)
        self.redis.signal(signal.SIGCONT)

    def run(self):
        try:
            for fault in itertools.cycle(["cut", "cut", "restart", "cut", "freeze"]):
                if self.over.wait(self.pause):
                    return
                getattr(self, fault)()
                self.counts[fault] += 1
        except Exception as error:  # pylint: disable=broad-except
            self.error = error

    def stop(self):
        self.over.set()
        self.join()
        assert not self.error, self.error


def durable(fleet):
    return fleet.redis(appendonly="yes", appendfsync="always")


def test_weir_is_linearizable(tools, fleet, tmp_path):
    weir = fleet.weir(durable(fleet))
    hammer(tools, weir.port, tmp_path / "history", "-n", OPERATIONS, "-d", 3)
    must_be_linearizable(tools, tmp_path / "history")


def test_weir_is_linearizable_with_faults(tools, fleet, tmp_path):
    """Store restarts, cut and frozen connections, clients that leave: still one register per key."""
    redis = durable(fleet)
    weir = fleet.weir(redis)
    for round_number in itertools.count(1):
        faults = Faults(redis, pause=0.4)
        faults.start()
        seconds = min(SOAK_SECONDS, 60) or (10 if sanitized() else 20)
        history = tmp_path / f"history-{round_number}"
        done = hammer(tools, weir.port, history, "-t", seconds, "-d", 3, "-r", round_number)
        faults.stop()
        print(f"round {round_number}: {done} operations; {faults.counts}")
        must_be_linearizable(tools, history)
        assert min(faults.counts.values()) > 0, faults.counts
        history.unlink()
        if round_number * seconds >= SOAK_SECONDS:
            break


@pytest.mark.parametrize("threads", [1, 3])
def test_weir_is_linearizable_when_small(tools, fleet, tmp_path, threads):
    """Many more keys than fit, so that eviction and refills are part of it; 1 and more threads."""
    weir = fleet.weir(durable(fleet), threads=threads, memory="64mb")
    hammer(tools, weir.port, tmp_path / "history", "-n", OPERATIONS // 2, "-k", 300, "-g", 100)
    must_be_linearizable(tools, tmp_path / "history")
