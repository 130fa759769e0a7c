"""Ask running instances which version they serve: what `observe` in policy.toml runs.

    observe = ["python3", "serve/observe.py", "http://127.0.0.1:8321"]

It prints a line an instance: its address and the version id. One that does not answer, or serves
nothing, is named all the same, with what is wrong instead of an id; Lockgate calls it unknown.
"""

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from urllib.request import urlopen

ANSWER_WITHIN_S = 3.0


def version_of(address: str) -> object:
    """Return the version id that an instance reports, or what is wrong with it."""
    try:
        with urlopen(f"{address}/version", timeout=ANSWER_WITHIN_S) as reply:
            return json.load(reply)["version"]
    except (OSError, ValueError, LookupError, TypeError) as error:
        return f"no answer: {error}"


if __name__ == "__main__":
    addresses = sys.argv[1:]
    with ThreadPoolExecutor(max_workers=16) as pool:
        for address, version in zip(addresses, pool.map(version_of, addresses), strict=True):
            print(address, version)
