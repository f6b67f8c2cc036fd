"""What a transaction does to its connection (CLIENT TRACKING, HELLO, CLIENT SETNAME) must not be met by
the next client that is lent a private connection."""
import pytest

from lib.resp import Error


@pytest.mark.parametrize("words", [("CLIENT", "SETNAME", "first"), ("CLIENT", "NO-EVICT", "on")])
def test_names_do_not_pass_to_others(fleet, words):
    store = fleet.redis()
    weir = fleet.weir(store, threads=1)
    first, second = weir.client(), weir.client()
    first("MULTI")
    first(*words)
    first("EXEC")
    second("SUBSCRIBE", "c")
    lines = store.client()("CLIENT", "LIST", "TYPE", "pubsub").decode()
    assert "name=first" not in lines and "flags=eP" not in lines and "flags=Pe" not in lines


def test_tracking_does_not_pass_to_others(fleet):
    store = fleet.redis()
    weir = fleet.weir(store, threads=1)
    first, second = weir.client(resp=3), weir.client(resp=3)
    first("MULTI")
    first("CLIENT", "TRACKING", "ON", "BCAST")
    first("EXEC")
    store.client()("SET", "k", 1)
    assert second("EVAL", "redis.call('set', 'k', 2) return 7", 0) == 7
    assert second("PING") == "PONG"
    assert second.pushes == []


def test_protocol_does_not_pass_to_others(fleet):
    store = fleet.redis()
    store.client()("HSET", "h", "f", "v")
    weir = fleet.weir(store, threads=1)
    first, second = weir.client(), weir.client()
    first("MULTI")
    first("HELLO", "3")
    first("EXEC")
    assert second.raw("EVAL", "redis.setresp(3) return redis.call('hgetall', 'h')", 0) == \
        b"*2\r\n$1\r\nf\r\n$1\r\nv\r\n"


def test_script_debug_does_not_pass_to_others(fleet):
    store = fleet.redis()
    weir = fleet.weir(store, threads=1)
    first, second = weir.client(), weir.client()
    assert first("SCRIPT", "DEBUG", "YES") == "OK" or isinstance(first, Error)
    assert second("EVAL", "return 7", 0) == 7
