"""Cloud Custodian (PyPI c7n) on the same guardrails. Arguments: `lambda` or `pull`, and a folder with config.json.

`lambda` is Custodian's own handler, as its Lambda mode deploys it. `pull` does the same as `custodian run`, without a
new process each time. Custodian finds the governed roles by their names, because it cannot read a domain's roles.
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

    def handle(order: dict[str, Any]) -> None:  # noqa: ARG001 - a sweep does not use the order
        # The policies of one sweep share the cache of its lists.
        cache.unlink(missing_ok=True)
        for policy in PolicyCollection.from_data(document, config):
            policy.validate()
            policy.run()


from talk import CONTEXT, listen  # noqa: E402

listen(START, handle)
