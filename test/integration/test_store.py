"""The store comes and goes, is slow, is paused: what weir's clients see of it, and how weir ends."""
import signal
import socket

import pytest

from lib.resp import Client, Closed, Error, command_bytes
from lib.rig import eventually
from lib.servers import wait_until
from lib.twins import blocked


def is_weir_error(reply, *ends):
    return isinstance(reply, Error) and reply.startswith("ERR weir: ") and reply.endswith(ends)


@pytest.mark.weir_only
def test_store_down_at_start(fleet):
    store = fleet.redis()
    store.stop()
    weir = fleet.weir(store)
    client = weir.client()
    reply = client("SET", "k", "v")
    assert is_weir_error(reply, "not applied"), reply
    assert f"127.0.0.1:{store.port}" in reply
    store.restart()
    eventually(lambda: client("SET", "k", "v"), "OK")
    assert client("GET", "k") == b"v"


@pytest.mark.weir_only
def test_store_lost_and_back(fleet):
    store = fleet.redis()
    weir = fleet.weir(store)
    client, subscriber, blocker, dealer = (weir.client() for _ in range(4))
    client("SET", "k", "v")
    subscriber("SUBSCRIBE", "c")
    blocker.send("BLPOP", "l", 0)
    dealer("MULTI")
    wait_until(lambda: blocked(store), "BLPOP to block")
    store.kill()
    reply = wait_until(lambda: (r := client("SET", "k", "w")) != "OK" and r, "an error")
    assert is_weir_error(reply, "not applied", "outcome unknown"), reply
    ended = blocker.reply() if not closed_now(blocker) else None
    assert ended is None or is_weir_error(ended, "outcome unknown"), ended
    store.restart()
    eventually(lambda: client("SET", "k", "x"), "OK")
    fresh = weir.client()
    assert fresh.pipeline([("MULTI",), ("GET", "k"), ("EXEC",)])[2] == [b"x"]
    assert fresh("GET", "k") == b"x"


def closed_now(client):
    """Has the peer closed without a word?"""
    return client.sock.recv(1, socket.MSG_PEEK) == b""


@pytest.mark.weir_only
def test_write_sent_and_lost_is_not_repeated(fleet):
    fake = fleet.fake()
    weir = fleet.weir(fake)
    client, other = weir.client(), weir.client()
    other("GET", "k")

    def apply_and_die(call):
        call.run()
        wait_until(call.conn.settled, "weir to read what came before")
        call.conn.reset()
        return b""

    fake.on("INCR", apply_and_die, nth=1)
    client.send_raw(command_bytes([("PING",), ("INCR", "n"), ("GET", "n")]))
    assert client.reply() == "PONG"
    reply = client.reply()
    assert reply == Error(f"ERR weir: 127.0.0.1:{fake.port} lost, outcome unknown")
    after = client.reply()
    assert after == b"1" or is_weir_error(after, "outcome unknown", "not applied")
    assert fake.seen("INCR") == 1
    assert client("GET", "n") == b"1"


@pytest.mark.weir_only
def test_private_write_sent_and_lost(fleet):
    fake = fleet.fake()
    weir = fleet.weir(fake)
    client = weir.client()

    def die(call):
        call.conn.reset()
        return b""

    fake.on("EVAL", die, nth=1)
    reply = client("EVAL", "x", 0)
    assert reply == Error(f"ERR weir: 127.0.0.1:{fake.port} lost, outcome unknown")
    fake.on("EVAL", lambda call: b":7\r\n")
    assert client("EVAL", "x", 0) == 7
    assert fake.seen("EVAL") == 2


@pytest.mark.weir_only
def test_reconnect_kills_the_old_connection(fleet):
    # An unread old write must not run after a newer one.
    fake = fleet.fake()
    weir = fleet.weir(fake)
    client = weir.client()
    client("SET", "k", "v")
    first = fake.lane().number
    fake.lane().close()
    eventually(lambda: client("GET", "k"), b"v")
    assert fake.seen("CLIENT", "KILL", "ID", str(first)) == 1


@pytest.mark.weir_only
def test_drain_answers_what_is_under_way(fleet):
    fake = fleet.fake({"k": "v"})
    weir = fleet.weir(fake)
    busy, idle = weir.client(), weir.client()
    busy("GET", "else")
    idle("PING")
    fake.lane().hold()
    busy.send_raw(command_bytes([("SET", "k", "w"), ("GET", "k")]))
    fake.wait_seen(1, "SET", "k", "w")
    weir.signal(signal.SIGTERM)
    assert idle.at_end()
    assert weir.process.poll() is None
    fake.lane().release()
    assert [busy.reply(), busy.reply()] == ["OK", b"w"]
    assert busy.at_end()
    assert weir.wait() == 0


@pytest.mark.weir_only
@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_second_signal_stops_now(fleet, second):
    fake = fleet.fake({"k": "v"})
    weir = fleet.weir(fake)
    busy, idle = weir.client(), weir.client()
    busy("GET", "else")
    idle("PING")
    fake.lane().hold()
    busy.send("SET", "k", "w")
    fake.wait_seen(1, "SET", "k", "w")
    weir.signal(signal.SIGTERM)
    assert idle.at_end()
    weir.signal(second)
    weir.wait()
    assert not weir.reports()


@pytest.mark.weir_only
def test_new_clients_are_refused_while_draining(fleet):
    fake = fleet.fake({"k": "v"})
    weir = fleet.weir(fake)
    busy, idle = weir.client(), weir.client()
    busy("GET", "else")
    idle("PING")
    fake.lane().hold()
    busy.send("SET", "k", "w")
    fake.wait_seen(1, "SET", "k", "w")
    weir.signal(signal.SIGTERM)
    assert idle.at_end()

    def refused():
        try:
            with Client(weir.address) as client:
                return client("PING") != "PONG"
        except (Closed, OSError):
            return True

    wait_until(refused, "new clients to be refused")
    fake.lane().release()
    assert busy.reply() == "OK"


def test_pause_of_the_store_holds_writes(twins):
    direct, client, other = twins.store.client(), twins.weir.client(), twins.weir.client()
    client("SET", "k", "v")
    direct("CLIENT", "PAUSE", 10_000, "WRITE")
    client.send("SET", "k", "w")
    assert not client.readable(0.2)
    other.send("GET", "k")  # may have to wait too
    direct("CLIENT", "UNPAUSE")
    assert client.reply() == "OK"
    assert other.reply() in (b"v", b"w")
    assert other("GET", "k") == b"w"


def test_busy_store_delays_and_loses_nothing(twins):
    direct, clients = twins.store.client(), [twins.weir.client() for _ in range(4)]
    direct.send("DEBUG", "SLEEP", "0.7")
    for n, client in enumerate(clients):
        client.send_raw(command_bytes([("SET", f"k{n}", n), ("GET", f"k{n}"), ("INCR", "n")]))
    counts = []
    for n, client in enumerate(clients):
        assert [client.reply(), client.reply()] == ["OK", b"%d" % n]
        counts.append(client.reply())
    assert sorted(counts) == [1, 2, 3, 4]
    assert direct.reply() == "OK"


def test_script_that_runs_long_can_be_killed(twins):
    direct, runner, killer = twins.store.client(), twins.weir.client(), twins.weir.client()
    direct("CONFIG", "SET", "busy-reply-threshold", 100)
    runner.send("EVAL", "while true do end", 0)
    eventually(lambda: killer("SCRIPT", "KILL"), "OK")
    assert isinstance(runner.reply(), Error)
    assert killer("SET", "k", "v") == "OK"
