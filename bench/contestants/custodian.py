"""Cloud Custodian (PyPI c7n) on the same guardrails. Arguments: `lambda` or `pull`, and a folder with config.json.

`lambda` is its own handler, as its Lambda mode deploys it; `pull` is what `custodian run` does, without the start of a
process each time. How Custodian finds the governed roles is by their names: it cannot ask a domain for its roles.
"""

import time

START = time.monotonic()

import os  # noqa: E402
import sys  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

MODE, FOLDER = sys.argv[1:]
os.chdir(FOLDER)
if MODE == "lambda":
    from c7n import handler

    def handle(order: dict[str, Any]) -> None:
        handler.dispatch_event(order["event"], CONTEXT)

else:
    import json
    import logging

    from c7n.config import Config
    from c7n.policy import PolicyCollection
    from c7n.resources import load_resources
    from c7n.resources.aws import AWS

    logging.getLogger("custodian").setLevel(logging.ERROR)
    document = json.loads(Path("config.json").read_text())
    load_resources({f"aws.{policy['resource'].removeprefix('aws.')}" for policy in document["policies"]})
    cache = Path("custodian.cache")
    options = {"output_dir": FOLDER, "account_id": "111122223333", "region": "us-east-1"}
    config = AWS().initialize(Config.empty(**options, cache=str(cache), cache_period=15))

    def handle(order: dict[str, Any]) -> None:  # noqa: ARG001 - a sweep needs nothing of it
        # Its policies share what it has listed, one sweep's worth of it.
        cache.unlink(missing_ok=True)
        for policy in PolicyCollection.from_data(document, config):
            policy.validate()
            policy.run()


from talk import CONTEXT, listen  # noqa: E402

listen(START, handle)
