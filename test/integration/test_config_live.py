"""What an operator does to a weir that runs: directives, reload, rules, and the WEIR commands."""
import signal
import time
import urllib.error
import urllib.request

import pytest

from lib.resp import Client, Error
from lib.rig import Rig, eventually
from lib.servers import Weir, free_port, sanitized, wait_until

pytestmark = pytest.mark.weir_only


@pytest.fixture
def rig(fleet):
    return Rig(fleet)


def pairs(flat):
    """A RESP2 map."""
    return {name.decode(): value for name, value in zip(flat[::2], flat[1::2])}


def why(client, key):
    return pairs(client("WEIR", "CACHE", "WHY", key))["cached"].decode()


# ---- CONFIG ----------------------------------------------------------------------------------------

def test_config_get(rig):
    client = rig.client()
    own = pairs(client("CONFIG", "GET", "weir-*"))
    assert {"weir-memory", "weir-maxclients", "weir-store", "weir-cache", "weir-timeout"} <= set(own)
    assert all(name.startswith("weir-") for name in own)
    assert own["weir-memory"] == b"64mb"
    assert pairs(client("CONFIG", "GET", "weir-max*")) == {"weir-maxclients": b"10000"}
    assert client("CONFIG", "GET", "weir-nosuch") == []
    assert pairs(client("CONFIG", "GET", "maxmemory")) == {"maxmemory": b"0"}  # the store's
    assert client("CONFIG", "SET", "maxmemory", "100mb") == "OK"
    assert rig.direct()("CONFIG", "GET", "maxmemory")[1] == b"104857600"
    with Client(rig.weir.address, resp=3) as resp3:
        assert resp3("CONFIG", "GET", "weir-memory") == [(b"weir-memory", b"64mb")]


@pytest.mark.parametrize("name, value, shown", [
    ("timeout", "90", b"90s"), ("maxclients", "77", b"77"), ("client-buffer", "64kb", b"64kb"),
    ("slowlog-log-slower-than", "5", b"5"), ("loglevel", "warning", b"warn"),
    ("private-blocking", "3", b"3"), ("store-timeout", "5s", b"5s"), ("drain-timeout", "1s", b"1s"),
])
def test_config_set(rig, name, value, shown):
    client = rig.client()
    assert client("CONFIG", "SET", f"weir-{name}", value) == "OK"
    got = client("CONFIG", "GET", f"weir-{name}")[1]
    assert got == shown or got.startswith(value.encode()), got
    assert client("SET", "k", "v") == "OK"


@pytest.mark.parametrize("arguments, says", [
    (("weir-memroy", "1gb"), "memory"), (("weir-timeout", "soon"), "soon"),
    (("weir-maxclients", "0"), "maxclients"), (("weir-store", "redis://127.0.0.1:1"), "restart"),
    (("weir-threads", "7"), "restart"), (("weir-memory", "1mb"), "memory"),
    (("weir-timeout", "1", "weir-maxclients", "x"), "maxclients"),
    (("weir-timeout", "1", "maxmemory", "1"), "together"),
])
def test_config_set_refuses_and_changes_nothing(rig, arguments, says):
    client = rig.client()
    before = client("CONFIG", "GET", "weir-*")
    reply = client("CONFIG", "SET", *arguments)
    assert isinstance(reply, Error) and reply.startswith("ERR ") and says in reply, reply
    assert client("CONFIG", "GET", "weir-*") == before


def test_config_set_requirepass(rig):
    inside, client = rig.client(), rig.client()
    assert inside("CONFIG", "SET", "weir-requirepass", "secret") == "OK"
    assert b"secret" not in b"".join(inside("CONFIG", "GET", "weir-requirepass"))
    late = rig.client()
    assert late("GET", "k").startswith("NOAUTH")
    assert late("AUTH", "secret") == "OK"
    assert late("GET", "k") is None
    assert client("GET", "k") is None  # who was in stays in, as in Redis
    assert inside("CONFIG", "SET", "weir-requirepass", "") == "OK"
    assert rig.client()("GET", "k") is None


def test_config_set_timeout_is_live(rig):
    idle, client = rig.client(), rig.client()
    idle("PING")
    assert client("CONFIG", "SET", "weir-timeout", "1") == "OK"
    assert idle.at_end()


def test_config_set_maxclients_is_live(rig):
    client = rig.client()
    assert client("CONFIG", "SET", "weir-maxclients", "1") == "OK"
    with Client(rig.weir.address) as refused:
        assert refused.read().value == "ERR max number of clients reached"
    assert client("CONFIG", "SET", "weir-maxclients", "100") == "OK"
    assert rig.client()("PING") == "PONG"


def test_config_set_cache_off_and_on(rig):
    direct, client = rig.direct(), rig.client()
    rig.warm(client, "GET", "k")
    assert client("CONFIG", "SET", "weir-cache", "off") == "OK"
    eventually(lambda: rig.hits_of(lambda: [client("GET", "k") for _ in range(5)]), 0)
    for n in range(20):
        direct("SET", "k", n)
        assert client("GET", "k") == b"%d" % n
    assert client("CONFIG", "SET", "weir-cache", "on") == "OK"
    assert rig.warm(client, "GET", "k") == b"19"
    direct("SET", "k", "new")
    eventually(lambda: client("GET", "k"), b"new")


def test_admin_commands_no(fleet):
    rig = Rig(fleet, admin_commands="no")
    client = rig.client()
    for command in (("CONFIG", "SET", "weir-timeout", "1"), ("WEIR", "CACHE", "DROP", "all"),
                    ("WEIR", "SLOWLOG")):
        assert isinstance(client(*command), Error), command
    assert client("PING") == "PONG"


@pytest.mark.skipif(sanitized(), reason="a sanitizer's own memory is not weir's")
def test_config_set_memory_grows_and_shrinks(fleet):
    mb = 1 << 20
    rig = Rig(fleet, memory="64mb")
    client, direct = rig.client(), rig.direct()
    keys = [f"k{n}" for n in range(3000)]
    for start in range(0, len(keys), 500):
        direct.pipeline([("SET", key, "v" * 40_000) for key in keys[start:start + 500]])

    def read_all():
        for start in range(0, len(keys), 100):
            for reply in client.pipeline([("GET", key) for key in keys[start:start + 100]]):
                assert len(reply) == 40_000

    def items():
        return rig.weir.metric("cache_item_bytes")

    read_all()
    assert rig.weir.rss_bytes() <= 64 * mb
    small = items()
    assert client("CONFIG", "SET", "weir-memory", "128mb") == "OK"
    read_all()
    read_all()
    assert items() > 2 * small
    assert 100 * mb < rig.weir.rss_bytes() <= 128 * mb
    assert client("CONFIG", "SET", "weir-memory", "64mb") == "OK"
    wait_until(lambda: rig.weir.rss_bytes() <= 64 * mb, "the memory to be given back")
    assert client("CONFIG", "GET", "weir-memory")[1] == b"64mb"
    read_all()
    assert rig.weir.rss_bytes() <= 64 * mb
    direct("SET", "k0", "new")
    eventually(lambda: client("GET", "k0"), b"new")


@pytest.mark.parametrize("options, says", [
    ({"memory": "8mb"}, "memory: 8 MB is too small"), ({"memory": "64kb"}, "memory"),
    ({"listen": ["192.0.2.1:7000"]}, "192.0.2.1:7000"), ({"extra": "maxclients 2000000"}, "maxclients"),
    ({"extra": "nonsense 1"}, "nonsense"), ({"store": "redis://127.0.0.1:notaport"}, "notaport"),
    ({"listen": ["unix:/nonexistent/w.sock"]}, "/nonexistent/w.sock"),
])
def test_start_is_refused_in_words(tmp_path, options, says):
    # Catches: a crash, or silence, where the operator needs a reason.
    options = {"store": "redis://127.0.0.1:1", **options}
    weir = Weir(tmp_path / "weir", options.pop("store"), **options)
    weir.launch()
    assert weir.wait() in (1, 2), weir.log()
    assert says in weir.log(), weir.log()
    assert not weir.reports()


# ---- reload ------------------------------------------------------------------------------------------

def reload_with(rig, **options):
    rig.weir.options.update(options)
    rig.weir.config_path.write_text(rig.weir.config_text())
    rig.weir.signal(signal.SIGHUP)


def setting(client, name):
    return client("CONFIG", "GET", f"weir-{name}")[1]


def test_reload(rig):
    client, other = rig.client(), rig.client()
    other("MULTI")
    rig.warm(client, "GET", "k")
    reload_with(rig, maxclients=123, timeout="77s",
                cache_block="max-stale 300ms\n}\ncache cold: {\nenabled no")
    eventually(lambda: setting(client, "maxclients"), b"123")
    assert setting(client, "timeout").startswith(b"77")
    client("GET", "cold:k")
    assert "prefix" in why(client, "cold:k")
    assert other("EXEC") == []  # clients stay
    assert rig.warm(client, "GET", "k") is None


def test_reload_of_a_broken_file_changes_nothing(rig):
    client = rig.client()
    before = client("CONFIG", "GET", "weir-*")
    text = rig.weir.config_text() + "maxclients 5\nmemroy 1gb\n"
    rig.weir.config_path.write_text(text)
    line = len(text.splitlines())
    rig.weir.signal(signal.SIGHUP)
    wait_until(lambda: f"weir.conf:{line}" in rig.weir.log(), "the complaint")
    assert "'memory'" in rig.weir.log().replace("\\", "").replace('"memory"', "'memory'")
    assert client("CONFIG", "GET", "weir-*") == before
    rig.weir.config_path.write_text(rig.weir.config_text() + "maxclients 55\n")
    rig.weir.signal(signal.SIGHUP)
    eventually(lambda: setting(client, "maxclients"), b"55")


def test_reload_reports_what_needs_a_restart(rig):
    client = rig.client()
    reload_with(rig, threads=1, maxclients=66)
    wait_until(lambda: any("restart" in line and "threads" in line
                           for line in rig.weir.log().splitlines()), "the warning")
    eventually(lambda: setting(client, "maxclients"), b"66")


def test_reload_opens_the_log_again(fleet, tmp_path):
    log = tmp_path / "weir.log"
    rig = Rig(fleet, logfile=str(log))
    client = rig.client()
    client("PING")
    wait_until(log.exists, "the log")
    log.rename(tmp_path / "weir.log.1")
    rig.weir.signal(signal.SIGHUP)
    wait_until(log.exists, "the new log")
    assert client("PING") == "PONG"


# ---- cache rules ---------------------------------------------------------------------------------------

RULES = """max-value 1kb
}
cache off: {
  enabled no
}
cache big: large: {
  max-value 100kb
}
cache big:not: {
  max-value 10
}
cache short: {
  max-ttl 200ms
}
cache hash: {
  commands hgetall
"""


def is_hit(rig, client, *command):
    for _ in range(3):
        client(*command)
    return rig.hits_of(lambda: client(*command)) == 1


def test_cache_rules(fleet):
    rig = Rig(fleet, block=RULES)
    direct, client = rig.direct(), rig.client()
    rig.warm(client, "GET", "none")
    for key, size, hit in (("off:a", 1, False), ("a", 1000, True), ("b", 1100, False),
                           ("big:a", 90_000, True), ("large:a", 90_000, True),
                           ("big:b", 110_000, False), ("big:not:a", 11, False),
                           ("big:not:b", 10, True)):
        direct("SET", key, "v" * size)
        assert is_hit(rig, client, "GET", key) == hit, key
    direct("HSET", "hash:h", "f", "v")
    assert is_hit(rig, client, "HGETALL", "hash:h")
    assert not is_hit(rig, client, "HGET", "hash:h", "f")
    assert "prefix" in why(client, "off:a")


def test_cache_rule_of_max_ttl(fleet):
    rig = Rig(fleet, block=RULES)
    client = rig.client()
    rig.direct()("SET", "short:k", "v")
    rig.warm(client, "GET", "short:k")
    time.sleep(0.25)
    assert rig.hits_of(lambda: client("GET", "short:k")) == 0
    assert rig.warm(client, "GET", "short:k") == b"v"


def test_cache_rules_by_config_set(rig):
    client = rig.client()
    rig.direct()("SET", "cold:k", "v")
    rig.warm(client, "GET", "cold:k")
    assert client("CONFIG", "SET", "weir-cache", "cold: { enabled no }") == "OK"
    eventually(lambda: rig.hits_of(lambda: client("GET", "cold:k")), 0)
    assert client("GET", "cold:k") == b"v"


# ---- WEIR ------------------------------------------------------------------------------------------------

def test_cache_drop(rig):
    direct, client = rig.direct(), rig.client()
    keys = ["a:1", "a:2", "b:1", "b:2", "c"]
    direct.pipeline([("SET", key, key) for key in keys])

    def hot():
        for key in keys:
            rig.warm(client, "GET", key)

    def cached():
        return [key for key in keys if why(client, key).startswith("yes")]

    hot()
    assert cached() == keys
    assert client("WEIR", "CACHE", "DROP", "key", "a:1") == 1
    assert client("WEIR", "CACHE", "DROP", "key", "nosuch") == 0
    assert cached() == ["a:2", "b:1", "b:2", "c"]
    assert client("WEIR", "CACHE", "DROP", "prefix", "b:") == 2
    assert cached() == ["a:2", "c"]
    hot()
    assert client("WEIR", "CACHE", "DROP", "all") >= 5
    assert cached() == []
    assert client.pipeline([("GET", key) for key in keys]) == [key.encode() for key in keys]
    for wrong in (("DROP",), ("DROP", "key"), ("DROP", "nosuch", "x"), ("NOSUCH",), ()):
        assert isinstance(client("WEIR", "CACHE", *wrong), Error), wrong


def test_cache_why(rig):
    direct, client = rig.direct(), rig.client()
    direct("SET", "k", "v", "EX", 100)
    assert why(client, "k").startswith("no")
    rig.warm(client, "GET", "k")
    told = pairs(client("WEIR", "CACHE", "WHY", "k"))
    assert told["cached"].startswith(b"yes")
    assert 0 < int(told["expires-in-ms"]) <= 100_000
    assert told["bytes"] == b"1"
    direct("SET", "k", "w")
    wait_until(lambda: why(client, "k").startswith("no"), "the push")
    rig.warm(client, "GET", "k")
    client("FLUSHALL")
    assert why(client, "k").startswith("no")
    assert why(client, "x" * 2000).startswith("no")


def test_slowlog(rig):
    direct, client = rig.direct(), rig.client()
    assert client("WEIR", "SLOWLOG", "RESET") == "OK"
    assert client("WEIR", "SLOWLOG", "LEN") == 0
    client("CLIENT", "SETNAME", "sluggard")
    assert client("CONFIG", "SET", "weir-slowlog-log-slower-than", "50000") == "OK"
    direct.send("DEBUG", "SLEEP", "0.2")
    time.sleep(0.05)
    client("LRANGE", "slow:key", 0, -1)
    direct.reply()
    entries = client("WEIR", "SLOWLOG", "GET")
    assert len(entries) == 1 == client("WEIR", "SLOWLOG", "LEN")
    entry = entries[0]
    assert entry[2] >= 50_000
    assert entry[3][:2] == [b"LRANGE", b"slow:key"]
    assert b"sluggard" in entry
    assert client("SLOWLOG", "LEN") >= 0  # the store's own
    assert client("WEIR", "SLOWLOG", "RESET") == "OK"
    assert client("WEIR", "SLOWLOG", "GET", 5) == []


def fields(line):
    return dict(word.split("=", 1) for word in line.split())


def test_client_list(rig):
    clients = rig.clients(10)
    for n, client in enumerate(clients):
        client("CLIENT", "SETNAME", f"client{n}")
    clients[1]("MULTI")
    clients[2].send("SUBSCRIBE", "c")
    clients[2].read()
    clients[3]("SELECT", 5)
    listed = {f["name"]: f for f in map(fields, clients[0]("CLIENT", "LIST").decode().splitlines())}
    assert {f"client{n}" for n in range(10)} <= set(listed)
    assert "x" in listed["client1"]["flags"]
    assert "P" in listed["client2"]["flags"]
    assert listed["client3"]["db"] == "5"
    assert len({f["id"] for f in listed.values()}) == len(listed)
    host, port = clients[4].sock.getsockname()
    assert listed["client4"]["addr"] == f"{host}:{port}"
    info = fields(clients[4]("CLIENT", "INFO").decode())
    assert info["id"] == listed["client4"]["id"] == str(clients[4]("CLIENT", "ID"))


def test_client_kill(rig):
    client, by_id, by_address = rig.clients(3)
    assert client("CLIENT", "KILL", "ID", by_id("CLIENT", "ID")) == 1
    assert by_id.at_end()
    host, port = by_address.sock.getsockname()
    assert client("CLIENT", "KILL", f"{host}:{port}") == "OK"
    assert by_address.at_end()
    assert client("CLIENT", "KILL", "ID", 999_999) == 0
    assert isinstance(client("CLIENT", "KILL", "127.0.0.1:1"), Error)
    assert client("PING") == "PONG"


def test_info(rig):
    client = rig.client()
    client("GET", "k")
    own = client("INFO", "weir").decode()
    assert own.startswith("# Weir\r\n") and "redis_version" not in own
    whole = client("INFO").decode()
    assert "redis_version:" in whole and "# Weir" in whole
    assert "# Weir" not in client("INFO", "memory").decode()
    info = rig.weir.info()
    assert int(info["clients"]) >= 1
    before = rig.weir.metric("requests_total")
    client.pipeline([("PING",)] * 100)
    assert rig.weir.metric("requests_total") >= before + 100


def get(port, path):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
        return answer.status, answer.read().decode()


def test_admin_http(fleet):
    port = free_port()
    rig = Rig(fleet, admin=f"127.0.0.1:{port}")
    client = rig.client()
    rig.warm(client, "GET", "k")
    assert get(port, "/healthz")[0] == 200
    assert get(port, "/readyz")[0] == 200
    status, text = get(port, "/metrics")
    assert status == 200
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    values = {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines}
    assert values["weir_cache_hits_total"] >= 1
    assert any(name.startswith("weir_command_duration_seconds") for name in values)
    rig.store.stop()

    def unready():
        try:
            get(port, "/readyz")
        except urllib.error.HTTPError as error:
            return error.code == 503
        return False

    wait_until(unready, "/readyz to say no")
    assert get(port, "/healthz")[0] == 200
