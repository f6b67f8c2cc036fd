"""The clients people have: redis-cli, redis-benchmark, python3-redis. To them weir is Redis."""
import re
import subprocess
import threading
import time

import pytest
import redis
import redis.lock

from lib.resp import command_bytes
from lib.rig import Worker, finish_all
from lib.servers import wait_until


@pytest.fixture(scope="module")
def servers(module_fleet):
    store = module_fleet.redis()
    return store, module_fleet.weir(store)


@pytest.fixture
def weir(servers):
    servers[0].client()("FLUSHALL")
    yield servers[1]
    for server in servers:
        server.close_clients()
    said = servers[1].died()
    assert not said, said


def cli(weir, *arguments, text=None, status=0):
    done = subprocess.run(["redis-cli", "-p", str(weir.port), *arguments], input=text,
                          capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == status, done.stderr
    return done.stdout


# ---- redis-cli -------------------------------------------------------------------------------------

@pytest.mark.parametrize("protocol", [[], ["-3"]], ids=["resp2", "resp3"])
def test_cli_commands(weir, protocol):
    assert cli(weir, *protocol, "SET", "k", "v") == "OK\n"
    assert cli(weir, *protocol, "GET", "k") == "v\n"
    assert cli(weir, *protocol, "HSET", "h", "f", "1") == "1\n"
    assert cli(weir, *protocol, "HGETALL", "h").split() == ["f", "1"]
    assert cli(weir, *protocol, "-n", "3", "GET", "k") == "\n"
    script = "MULTI\nINCR n\nINCR n\nEXEC\nSELECT 2\nSET k two\nGET k\n"
    assert cli(weir, *protocol, text=script).split()[-3:] == ["OK", "OK", "two"]
    assert cli(weir, *protocol, "--eval", "/dev/stdin", text="return 42").strip() == "42"
    assert "redis_version" in cli(weir, *protocol, "INFO")
    assert cli(weir, *protocol, "-r", "3", "INCR", "m").split() == ["1", "2", "3"]
    assert cli(weir, *protocol, "--csv", "LRANGE", "none", "0", "-1").strip() == ""
    assert cli(weir, *protocol, "-x", "SET", "x", text="from stdin") == "OK\n"
    assert cli(weir, *protocol, "GET", "x") == "from stdin\n"


def test_cli_pipe(weir):
    count = 20_000
    data = command_bytes([("SET", f"k{n}", f"v{n}") for n in range(count)] + [("NOSUCH",)])
    out = cli(weir, "--pipe", text=data.decode(), status=1)
    assert f"errors: 1, replies: {count + 1}" in out
    assert cli(weir, "DBSIZE") == f"{count}\n"
    assert cli(weir, "GET", "k19999") == "v19999\n"


def test_cli_scan_and_keys(weir):
    weir.client().pipeline([("MSET", *[w for i in range(100) for w in (f"a:{n}:{i}", "v")])
                            for n in range(20)])
    weir.client()("SET", "b:big", "x" * 100_000)
    assert len(set(cli(weir, "--scan", "--pattern", "a:*").split())) == 2000
    big = cli(weir, "--bigkeys")
    assert 'Biggest string found \'"b:big"\' has 100000 bytes' in big
    assert "2001 strings" in big
    assert "Sampled 2001 keys" in cli(weir, "--memkeys")


def test_cli_hotkeys(weir):
    direct = redis.Redis(port=weir.port)
    assert direct.config_set("maxmemory-policy", "allkeys-lfu")
    direct.set("hot", "v")
    assert "Sampled 1 keys" in cli(weir, "--hotkeys")
    direct.config_set("maxmemory-policy", "noeviction")


def watch_cli(weir, arguments, lines):
    """Runs redis-cli until it has printed that many lines."""
    with subprocess.Popen(["redis-cli", "-p", str(weir.port), *arguments], text=True,
                          stdout=subprocess.PIPE) as process:
        out = [process.stdout.readline() for _ in range(lines)]
        process.terminate()
    return out


def test_cli_stat(weir):
    out = watch_cli(weir, ["--stat", "-i", "0.1"], 4)
    assert out[1].startswith("keys")
    assert all(re.match(r"\d+ +\d", line) for line in out[2:]), out


def test_cli_subscribe_and_monitor(weir):
    got = []
    watchers = [Worker(lambda a, n: got.extend(watch_cli(weir, a, n)), arguments, count)
                for arguments, count in ((["SUBSCRIBE", "c"], 6), (["MONITOR"], 20))]
    while any(worker.is_alive() for worker in watchers):
        cli(weir, "PUBLISH", "c", "hello")
        time.sleep(0.01)
    finish_all(watchers)
    assert "hello\n" in got
    assert any('"PUBLISH" "c" "hello"' in line for line in got)


# ---- redis-benchmark ---------------------------------------------------------------------------------

TESTS = "ping_inline,ping_mbulk,set,get,incr,lpush,rpush,lpop,rpop,sadd,hset,spop,zadd,zpopmin," \
        "lrange_100,mset"


@pytest.mark.parametrize("options", [["-c", "20"], ["-c", "20", "-P", "32"], ["-c", "5", "-3"],
                                     ["-c", "20", "--threads", "2", "-r", "1000"]],
                         ids=["plain", "pipeline", "resp3", "threads"])
def test_benchmark(weir, options):
    done = subprocess.run(["redis-benchmark", "-p", str(weir.port), "-q", "-n", "1000", "-t", TESTS,
                           *options], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert len(re.findall(r"requests per second, p50=", done.stdout)) == 17, done.stdout
    assert not re.search(r"(?i)error", done.stdout + done.stderr), done.stderr


# ---- python3-redis -----------------------------------------------------------------------------------

@pytest.fixture(params=[False, True], ids=["bytes", "decoded"])
def r(weir, request):
    with redis.Redis(port=weir.port, decode_responses=request.param) as client:
        client.text = (lambda s: s) if request.param else (lambda s: s.encode())
        yield client


def test_python_types(r):
    text = r.text
    assert r.set("k", "v", ex=100) is True
    assert r.get("k") == text("v")
    assert 0 < r.ttl("k") <= 100
    assert r.mget("k", "none") == [text("v"), None]
    assert r.hset("h", mapping={"a": 1, "b": "x"}) == 2
    assert r.hgetall("h") == {text("a"): text("1"), text("b"): text("x")}
    assert r.rpush("l", 1, 2, 3) == 3
    assert r.lrange("l", 0, -1) == [text("1"), text("2"), text("3")]
    assert r.sadd("s", "a", "b") == 2
    assert r.smembers("s") == {text("a"), text("b")}
    assert r.zadd("z", {"a": 1.5, "b": 2}) == 2
    assert r.zrange("z", 0, -1, withscores=True) == [(text("a"), 1.5), (text("b"), 2.0)]
    assert r.zscore("z", "a") == 1.5
    entry = r.xadd("x", {"f": "v"})
    assert r.xrange("x") == [(entry, {text("f"): text("v")})]
    assert r.xread({"x": "0"}) == [[text("x"), [(entry, {text("f"): text("v")})]]]
    assert r.xinfo_stream("x")["length"] == 1
    assert r.geoadd("g", (13.36, 38.11, "P")) == 1
    assert r.geopos("g", "none") == [None]
    assert r.type("z") == text("zset")
    assert set(r.scan_iter()) == {text(key) for key in "k h l s z x g".split()}
    assert r.delete("k", "none") == 1
    assert r.exists("k") == 0
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        r.get("l")
    assert r.info()["redis_version"]
    assert r.config_get("maxmemory")
    assert r.client_setname("me") and r.client_getname() in ("me", b"me")
    assert r.client_id() > 0
    assert r.time()[0] > 0
    assert r.ping()


def test_python_pipelines(r):
    for transaction in (True, False):
        with r.pipeline(transaction=transaction) as pipe:
            for n in range(100):
                pipe.set(f"k{n}", n).get(f"k{n}").incr("count")
            replies = pipe.execute()
        assert replies[1::3] == [r.text(str(n)) for n in range(100)]
    assert int(r.get("count")) == 200
    with r.pipeline() as pipe:
        pipe.set("k", "v").lpush("k", "x").get("k")
        replies = pipe.execute(raise_on_error=False)
    assert replies[0] is True and isinstance(replies[1], redis.ResponseError)
    assert replies[2] == r.text("v")


def test_python_transactions(r):
    def add(pipe):
        value = int(pipe.get("n") or 0)
        pipe.multi()
        pipe.set("n", value + 1)

    def many():
        for _ in range(30):
            r.transaction(add, "n")

    finish_all([Worker(many) for _ in range(4)])
    assert int(r.get("n")) == 120


def test_python_pubsub(r):
    with r.pubsub() as pubsub:
        pubsub.subscribe("c")
        pubsub.psubscribe("p.*")
        assert [pubsub.get_message(timeout=10)["type"] for _ in range(2)] \
            == ["subscribe", "psubscribe"]
        for n in range(50):
            assert r.publish("c", n) == 1
            assert r.publish("p.x", n) == 1
        messages = [pubsub.get_message(timeout=10) for _ in range(100)]
        assert [int(m["data"]) for m in messages] == [n for n in range(50) for _ in range(2)]
        pubsub.unsubscribe("c")
        assert pubsub.get_message(timeout=10)["type"] == "unsubscribe"
        assert r.publish("c", "x") == 0
        pubsub.ping()


def test_python_pubsub_thread(r):
    got = []
    pubsub = r.pubsub(ignore_subscribe_messages=True)
    pubsub.subscribe(c=got.append)
    thread = pubsub.run_in_thread(sleep_time=0.01)
    wait_until(lambda: r.publish("c", "x") and got, "a message")
    thread.stop()
    thread.join(10)


def test_python_locks(r):
    inside = []

    def work():
        for _ in range(10):
            with redis.lock.Lock(r, "lock", timeout=30, sleep=0.001, blocking_timeout=60):
                inside.append(1)
                assert len(inside) == 1
                inside.pop()

    finish_all([Worker(work) for _ in range(4)])
    lock = r.lock("other", timeout=30)
    assert lock.acquire() and lock.extend(10) and lock.owned()
    lock.release()
    with pytest.raises(redis.lock.LockError):
        lock.release()


def test_python_scripts(r):
    script = r.register_script("redis.call('SET', KEYS[1], ARGV[1]) return redis.call('GET', KEYS[1])")
    for n in range(20):
        assert script(keys=["k"], args=[n]) == r.text(str(n))
        assert r.get("k") == r.text(str(n))
    r.script_flush()
    assert script(keys=["k"], args=["again"]) == r.text("again")
    with r.pipeline() as pipe:
        script(keys=["k"], args=["piped"], client=pipe)
        pipe.get("k")
        assert pipe.execute() == [r.text("piped")] * 2


def test_python_blocking_queue(r):
    got = []

    def consume():
        while (item := r.blpop("queue", timeout=30)[1]) != r.text("end"):
            got.append(int(item))

    consumers = [Worker(consume) for _ in range(4)]
    for n in range(200):
        r.rpush("queue", n)
    r.rpush("queue", *["end"] * 4)
    finish_all(consumers)
    assert sorted(got) == list(range(200))


def test_python_streams_with_a_group(r):
    r.xgroup_create("x", "g", mkstream=True)
    for n in range(50):
        r.xadd("x", {"n": n})
    seen = []
    while batch := r.xreadgroup("g", "me", {"x": ">"}, count=7):
        for entry, fields in batch[0][1]:
            seen.append(int(fields[r.text("n")]))
            assert r.xack("x", "g", entry) == 1
        assert r.xpending("x", "g")["pending"] == 0
    assert seen == list(range(50))


def test_python_reads_what_others_write(r, servers):
    direct = redis.Redis(port=servers[0].port)
    for n in range(50):
        direct.set("k", n)
        wait_until(lambda: int(r.get("k") or -1) == n, "the new value")
        assert r.incr("k") == n + 1
        assert int(r.get("k")) == n + 1


def test_python_pool_under_threads(weir):
    pool = redis.BlockingConnectionPool(port=weir.port, max_connections=8, timeout=60)
    client, barrier = redis.Redis(connection_pool=pool), threading.Barrier(16)

    def work(n):
        barrier.wait(30)
        for turn in range(50):
            client.set(f"k{n}", turn)
            assert int(client.get(f"k{n}")) == turn

    finish_all([Worker(work, n) for n in range(16)])
    pool.disconnect()


def test_python_selected_database(weir):
    one, two = redis.Redis(port=weir.port, db=1), redis.Redis(port=weir.port, db=2)
    one.set("k", 1)
    two.set("k", 2)
    assert [int(c.get("k")) for c in (one, two, one, two)] == [1, 2, 1, 2]
    assert one.swapdb(1, 2)
    assert [int(c.get("k")) for c in (one, two)] == [2, 1]
