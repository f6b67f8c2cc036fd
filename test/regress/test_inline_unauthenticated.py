"""An inline command of more than ten words, before authentication, was swallowed without a reply."""


def test_long_inline_command_is_answered(fleet):
    store = fleet.redis()
    weir = fleet.weir(store, requirepass="secret")
    client = weir.client(timeout=5)
    client.send_raw(b"MGET 1 2 3 4 5 6 7 8 9 10 11 12\r\n")
    assert client.reply() == "NOAUTH Authentication required."
