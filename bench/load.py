"""Requests at a steady rate, from a process of their own: `python -m bench.load URL RATE < addresses`.

Every request has a time at which it is due, and is timed from then on: a server that falls behind cannot make its
answers look quick by keeping the next request waiting. Prints the milliseconds as one line of JSON, null for those that
the server refused.
"""

import http.client
import json
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

HANDS = 32
HEADERS = {"Accept-Encoding": "gzip"}


def load(url: str, addresses: Sequence[str], *, rate: float) -> list[float | None]:
    """Milliseconds of each, asked for by a process beside this one."""
    command = [sys.executable, "-m", "bench.load", url, str(rate)]
    told = subprocess.run(command, input="\n".join(addresses), capture_output=True, text=True, check=True)
    found: list[float | None] = json.loads(told.stdout)
    return found


def _main(url: str, rate: float) -> None:
    host = urlsplit(url).netloc
    own = threading.local()

    def ask(address: str, due: float) -> float | None:
        if not hasattr(own, "connection"):
            own.connection = http.client.HTTPConnection(host, timeout=60)
        own.connection.request("GET", address, headers=HEADERS)
        answer = own.connection.getresponse()
        answer.read()
        if answer.status == 503:
            return None
        if answer.status != 200:
            raise RuntimeError(f"{address}: {answer.status}")
        return (time.perf_counter() - due) * 1000

    with ThreadPoolExecutor(HANDS) as hands:
        asked = []
        begun = time.perf_counter() + 0.1
        for number, address in enumerate(sys.stdin.read().split()):
            due = begun + number / rate
            time.sleep(max(0.0, due - time.perf_counter()))
            asked.append(hands.submit(ask, address, due))
        sys.stdout.write(json.dumps([one.result() for one in asked]))


if __name__ == "__main__":
    _main(sys.argv[1], float(sys.argv[2]))
