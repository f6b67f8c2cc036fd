"""TERM while a client waited: what it had pipelined behind was dropped in the moment between the answer
and the next request's turn."""
import signal

from lib.rig import eventually


def test_what_was_pipelined_is_answered(fleet):
    store = fleet.redis()
    weir = fleet.weir(store)
    direct = store.client()
    direct("SET", "k", "v")
    client = weir.client()
    commands = [("BLPOP", "l", 20), ("GET", "k"), ("EVAL", "return 7", 0), ("CLIENT", "GETNAME"),
                ("GET", "k"), ("EVAL", "return 8", 0), ("GET", "none")]
    for command in commands:
        client.send(*command)
    eventually(lambda: b"blocked_clients:1" in direct("INFO", "clients"), True)
    weir.signal(signal.SIGTERM)
    eventually(lambda: b"\nblocked_clients:1" in direct("INFO", "clients"), True)
    direct("RPUSH", "l", "x")
    assert [client.reply() for _ in commands] == [[b"l", b"x"], b"v", 7, None, b"v", 8, None]
    assert client.at_end()
