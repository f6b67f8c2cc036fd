"""In front of a store without RESP3 (older than 6.0), weir promised RESP3 to its clients; their private
connections then asked for it, were refused, and every script and transaction failed."""
from lib.resp import Error


def no_hello(call):
    return b"-ERR unknown command `HELLO`, with args beginning with: `3`, \r\n"


def test_resp3_is_refused(fleet):
    fake = fleet.fake({"k": "v"})
    fake.on("HELLO", no_hello)
    weir = fleet.weir(fake)
    client = weir.client()
    assert client("GET", "k") == b"v"
    reply = client("HELLO", "3")
    assert isinstance(reply, Error) and reply.startswith("NOPROTO")
    assert isinstance(client("HELLO", "2"), list)
    assert client("MULTI") == "OK"
    assert weir.info()["cache_state"].startswith("off")
