"""A store that is down was logged at every attempt to reach it."""


from lib.servers import free_port, wait_until


def test_store_not_reached_is_said_once(fleet):
    store = fleet.redis()
    weir = fleet.weir(store)
    store.kill()
    wait_until(lambda: weir.metric("store_connects_total") > 8, "some attempts")
    assert weir.log().count("store not reached") == 1


def test_store_down_at_start_is_said_once(fleet):
    weir = fleet.weir(f"redis://127.0.0.1:{free_port()}")
    wait_until(lambda: weir.metric("store_connects_total") > 8, "some attempts")
    assert weir.log().count("store not reached") == 1
