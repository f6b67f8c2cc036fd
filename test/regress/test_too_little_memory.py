"""Too small a `memory` crashed the refusal: workers that did not exist yet were stopped."""
import subprocess

from lib.servers import WEIR


def test_is_refused_with_what_would_do(fleet):
    store = fleet.redis()
    run = subprocess.run([WEIR, "serve", "--store", store.url, "--listen", "127.0.0.1:0", "--memory", "4mb",
                          "--admin", "off"], capture_output=True, text=True, timeout=30)
    assert run.returncode == 1, run
    assert "too small" in run.stderr
