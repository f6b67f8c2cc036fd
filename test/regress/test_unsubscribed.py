"""After its last UNSUBSCRIBE a client kept its private connection until it went, and had no hits."""
import pytest

from lib.rig import Rig, eventually


@pytest.mark.parametrize("resp", [2, 3])
@pytest.mark.parametrize("words", [["UNSUBSCRIBE"], ["UNSUBSCRIBE", "a", "b"]])
def test_connection_is_given_back(fleet, resp, words):
    rig = Rig(fleet)
    rig.store.client()("SET", "k", "v")
    client = rig.client(resp=resp)
    client.send("SUBSCRIBE", "a", "b")
    client.read(), client.read()
    client.send("PSUBSCRIBE", "p*")
    assert client.read().value[2] == 3
    client.send(*words)
    client.read(), client.read()
    assert rig.weir.metric("private_connections") == 1
    client.send("PUNSUBSCRIBE", "p*")
    assert client.read().value[2] == 0
    assert client("PING") == "PONG"
    rig.warm(client, "GET", "k")
    assert rig.weir.metric("private_connections") == 0
    client.send("SUBSCRIBE", "c")
    assert client.read().value == [b"subscribe", b"c", 1]
    rig.store.client()("PUBLISH", "c", "message")
    assert client.read().value == [b"message", b"c", b"message"]


@pytest.mark.parametrize("resp", [2, 3])
def test_subscribed_again_in_one_pipeline(fleet, resp):
    rig = Rig(fleet)
    client = rig.client(resp=resp)
    for n in range(20):
        client.send_raw(b"SUBSCRIBE a\r\nUNSUBSCRIBE a\r\nSUBSCRIBE b\r\nPING\r\nUNSUBSCRIBE\r\nPING\r\nGET k\r\n")
        frames = [client.read().value for _ in range(7)]
        assert frames[:3] == [[b"subscribe", b"a", 1], [b"unsubscribe", b"a", 0],
                              [b"subscribe", b"b", 1]]
        assert frames[3:] == [[b"pong", b""] if resp == 2 else "PONG", [b"unsubscribe", b"b", 0],
                              "PONG", None]
    eventually(lambda: rig.weir.metric("private_connections"), 0)


@pytest.mark.parametrize("resp", [2, 3])
def test_unsubscribe_without_a_subscription(fleet, resp):
    rig = Rig(fleet)
    client = rig.client(resp=resp)
    for _ in range(5):
        client.send("UNSUBSCRIBE", "a", "b")
        assert [client.read().value for _ in range(2)] == [[b"unsubscribe", b"a", 0],
                                                           [b"unsubscribe", b"b", 0]]
        client.send("PUNSUBSCRIBE")
        assert client.read().value == [b"punsubscribe", None, 0]
        assert client("GET", "k") is None
    eventually(lambda: rig.weir.metric("private_connections"), 0)


@pytest.mark.parametrize("resp", [2, 3])
def test_messages_meanwhile(fleet, resp):
    rig = Rig(fleet)
    client, publisher = rig.client(resp=resp), rig.store.client()
    client.send("SUBSCRIBE", "a", "b")
    client.read(), client.read()
    for n in range(50):
        publisher.pipeline([("PUBLISH", "b", f"{n} " + "m" * (n * 7)) for _ in range(5)])
        client.send_raw(b"UNSUBSCRIBE a\r\nSUBSCRIBE a\r\n")
        publisher.pipeline([("PUBLISH", "b", f"{n} " + "m" * (n * 7)) for _ in range(5)])
        frames = [client.read().value for _ in range(12)]
        assert sorted(frame[0] for frame in frames) == [b"message"] * 10 + [b"subscribe", b"unsubscribe"]
        assert not any(b"PING" in frame[0] or b"pong" in frame[0] for frame in frames)
