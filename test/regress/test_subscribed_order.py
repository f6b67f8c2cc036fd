"""With a RESP3 subscription, what weir answers itself overtook replies still to come from the store."""


def test_local_replies_do_not_overtake(fleet):
    store = fleet.redis()
    weir = fleet.weir(store)
    store.client()("SET", "k", "v")
    client = weir.client(resp=3)
    number = client("CLIENT", "ID")
    for _ in range(50):
        assert client.pipeline([("GET", "k"), ("CLIENT", "ID")]) == [b"v", number]
    client.send("SUBSCRIBE", "c")
    client.read()
    for _ in range(50):
        assert client.pipeline([("GET", "k"), ("CLIENT", "ID"), ("PING",)]) == [b"v", number, "PONG"]
