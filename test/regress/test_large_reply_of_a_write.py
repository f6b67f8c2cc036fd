"""A write whose reply is larger than client-buffer cut its client; the reply can't be asked for again,
but the client can be told so."""
from lib.resp import Error


def test_client_is_told(fleet):
    store = fleet.redis()
    weir = fleet.weir(store, client_buffer="64kb")
    for _ in range(2):
        client = weir.client()
        store.client()("SET", "k", "v" * 3_000_000)
        first, second = client.pipeline([("GETSET", "k", "new"), ("PING",)])
        assert isinstance(first, Error) and "client-buffer" in first
        assert second == "PONG"
        assert client("GET", "k") == b"new"
    assert weir.metric("private_connections") == 0


def test_read_behind_which_a_write_was_sent(fleet):
    store = fleet.redis()
    weir = fleet.weir(store, client_buffer="64kb")
    store.client()("SET", "k", "v" * 3_000_000)
    client = weir.client()
    replies = client.pipeline([("GET", "k"), ("SET", "other", 1), ("GET", "other")])
    assert replies[0] == b"v" * 3_000_000 or "client-buffer" in replies[0]
    assert replies[1:] == ["OK", b"1"]
