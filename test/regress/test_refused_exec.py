"""DISCARD with an argument is refused, and the transaction stays open. weir took it for ended and put
the connection into the pool: the next client's command was queued in the first one's transaction.
EXEC and DISCARD without MULTI leave what is watched, which weir forgot."""
import pytest

from lib.resp import Error


def test_the_connection_of_an_open_transaction_is_not_lent_to_others(fleet):
    store = fleet.redis()
    weir = fleet.weir(store, threads=1)
    first, second = weir.client(), weir.client()
    assert first("MULTI") == "OK"
    assert first("SET", "k", "v") == "QUEUED"
    assert isinstance(first("DISCARD", "x"), Error)
    assert second("EVAL", "return 7", 0) == 7
    reply = first("EXEC")
    assert isinstance(reply, Error) and reply.startswith("EXECABORT")
    assert first("EVAL", "return 8", 0) == 8


def test_exec_with_an_argument_ends_the_transaction(fleet):
    weir = fleet.weir(fleet.redis(), threads=1)
    client = weir.client()
    assert client.pipeline([("MULTI",), ("SET", "k", "v")]) == ["OK", "QUEUED"]
    assert client("EXEC", "x").startswith("EXECABORT")
    assert client("EXEC") == "ERR EXEC without MULTI"
    assert client("SET", "k", "v") == "OK"


@pytest.mark.parametrize("words", [("WATCH",), ("UNWATCH", "x")])
def test_refused_watch_keeps_what_was_watched(fleet, words):
    store = fleet.redis()
    weir = fleet.weir(store, threads=1)
    first, second = weir.client(), weir.client()
    assert first("WATCH", "k") == "OK"
    assert isinstance(first(*words), Error)
    assert second("SET", "k", "other") == "OK"
    assert first("MULTI") == "OK"
    assert first("SET", "k", "mine") == "QUEUED"
    assert first("EXEC") is None


@pytest.mark.parametrize("words", [("EXEC",), ("DISCARD",)])
def test_exec_without_multi_keeps_what_was_watched(fleet, words):
    store = fleet.redis()
    weir = fleet.weir(store, threads=1)
    first, second = weir.client(), weir.client()
    assert first("WATCH", "k") == "OK"
    assert isinstance(first(*words), Error)
    assert second("SET", "k", "other") == "OK"
    assert second("MULTI") == "OK"  # takes what lies in the pool
    assert first("MULTI") == "OK"
    assert first("SET", "k", "mine") == "QUEUED"
    assert first("EXEC") is None
