"""Random malformed events and messages: parts of real ones are removed, swapped, nested, enlarged or change type.

Rolewarden must finish each of them, request no retry, and change nothing in IAM.
"""

from __future__ import annotations

import copy
import json
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from rolewarden.events import parse_event
from rolewarden.sweep_messages import Sweep
from rolewarden.work import Recheck, Work
from rolewarden_local.aws import ACCOUNT_ID, REGION, LocalAws
from rolewarden_local.scenes.template import Template

from tests.conftest import ROOT
from tests.soak.functions import QUEUES, Functions, quiet, record
from tests.world import World

WRONG: tuple[Callable[[random.Random], Any], ...] = (
    lambda _: None,
    lambda _: True,
    lambda _: -1,
    lambda _: 10**40,
    lambda _: float("inf"),
    lambda _: float("nan"),
    lambda _: 0.1,
    lambda _: "",
    lambda _: [],
    lambda _: {},
    lambda _: "\x00\x1f\x7f",
    lambda _: "Röle\u202egnirts\ud800😀",
    lambda _: "../../*?%s{0}${jndi:ldap://x}'\";--",
    lambda _: "x" * 300_000,
    lambda _: [["x"] * 50] * 50,
    lambda _: {"": {"": None}, "a.b": [None]},
    lambda chance: nested(chance.choice([3, 90, 500])),
    lambda chance: "".join(chr(chance.randrange(1, 0x3000)) for _ in range(chance.randrange(200))),
    lambda _: "arn:aws:iam::999999999999:role/CanvasOmar",
    lambda _: "CanvasOmar",
    lambda _: "BuildServer",
    lambda _: ACCOUNT_ID,
)
"""Values that replace parts of an input."""


_ELSEWHERE = re.compile(r'\\?"region\\?": \\?"(?!us-east-1\\?")')
"""A region without domains of the account, in an event or a message."""


def nested(depth: int) -> Any:
    """Lists and mappings in each other."""
    value: Any = "deep"
    for level in range(depth):
        value = [value] if level % 2 else {"a": value}
    return value


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all parts of a JSON value, from the top down."""
    yield path
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield from places(child, (*path, key))


def mutated(value: Any, chance: random.Random) -> Any:
    """A copy of `value` with up to five errors. It stays a mapping, because EventBridge's events are mappings."""
    value = copy.deepcopy(value)
    for _ in range(chance.randint(1, 5)):
        found = [path for path in places(value) if path]
        if not found:
            break
        path = chance.choice(found)
        *above, key = path
        holder = value
        for step in above:
            holder = holder[step]
        change = chance.randrange(4)
        if change == 0:
            del holder[key]
        elif change == 1:
            other = value
            for step in chance.choice(found):
                other = other[step] if isinstance(other, dict | list) and _has(other, step) else other
            holder[key] = copy.deepcopy(other)
        elif change == 2 and isinstance(holder[key], str) and holder[key]:
            place = chance.randrange(len(holder[key]))
            holder[key] = holder[key][:place] + chance.choice(["", "/", "\n", "*", "ß", ":"]) + holder[key][place + 1 :]
        else:
            holder[key] = chance.choice(WRONG)(chance)
    return value


def _has(holder: Any, key: Any) -> bool:
    return key in holder if isinstance(holder, dict) else isinstance(key, int) and key < len(holder)


def text_of(body: Any, chance: random.Random) -> str:
    """The text of a message, mostly JSON."""
    text = json.dumps(body)
    if chance.random() < 0.1:
        cut = chance.randrange(len(text) + 1)
        wrong = json.dumps(chance.choice(WRONG)(chance))
        text = chance.choice([text[:cut], text + text[cut:], "[" * 100_000, "", text.replace('"', "”"), wrong])
    return text


def messages(world: World) -> dict[str, list[Any]]:
    """Real messages by queue."""
    sweep = Sweep(ACCOUNT_ID, 1_800_000_000.0)
    looks = [Recheck(parse_event(event), 1).as_dict() for event in events().values() if not parse_event(event).ignored]
    bound = [b for b in world.bindings.all() if b.role]
    works = [Work.of_sweep(b.role, ACCOUNT_ID, [b]).as_dict() for b in bound if b.role]
    ana = {"domain": "d-analytics0001", "profiles": ["omar", "ana"]}
    return {
        "WorkQueue": [*works, *(look for look in looks if "policy" not in look["request"])],
        "PublishQueue": [look for look in looks if "policy" in look["request"]],
        "SweepQueue": [
            sweep.message("list"),
            sweep.message("list", after="d-analytics0001"),
            sweep.message("compare", after=f"{ACCOUNT_ID}/CanvasOmar"),
            sweep.message("describe", **ana),
            sweep.message("audit"),
        ],
        "DetachQueue": [
            {"account": ACCOUNT_ID, "role": "CanvasOmar", "policies": ["no-generative-ai"]},
            {"account": ACCOUNT_ID, "policy": "no-generative-ai"},
        ],
    }  # fmt: skip


@cache
def events() -> dict[str, Any]:
    """The sample events by name."""
    return {path.stem: json.loads(path.read_text()) for path in sorted((ROOT / "events").glob("*.json"))}


@cache
def _world() -> World:
    template = Template(ROOT / "template.yaml", region=REGION, account=ACCOUNT_ID)
    world = World(LocalAws.start(), template)
    with quiet(world):
        world.protected().queued()
    return world


def fuzz(seed: int, times: int) -> Counter[str]:
    """Pass `times` malformed inputs to the functions, and count them by function. An error is an AssertionError."""
    chance, done = random.Random(seed), Counter[str]()
    with LocalAws.start().connected():
        world = _world()
        world.lend()
        template = Template(ROOT / "template.yaml", region=REGION, account=ACCOUNT_ID)
        with quiet(world):
            functions = Functions(world, template)
            real = messages(world)
            for number in range(times):
                function, given = _input(chance, real)
                before = len(world.aws.events)
                try:
                    ended, answer = functions.invoke(function, given)
                except Exception as error:
                    raise AssertionError(f"seed {seed}, input {number}: {function} of {str(given)[:2000]}") from error
                # A region that does not exist never answers. After three tries the message is a dead letter.
                given_back = not ended or bool((answer or {}).get("batchItemFailures"))
                if given_back and _ELSEWHERE.search(json.dumps(given)):
                    continue
                said = f"seed {seed}, input {number}: {function} of {str(given)[:2000]}: {answer}"
                assert not given_back, said
                written = [event for event in list(world.aws.events)[before:] if "errorCode" not in event["detail"]]
                assert not written, f"{said}: {written}"
                world.aws.events.clear()
                if number % 50 == 0:
                    for queue in QUEUES:
                        world.queued(f"{queue.removesuffix('Queue').upper()}_QUEUE_URL")
                done[function] += 1
    return done


def _input(chance: random.Random, real: dict[str, list[Any]]) -> tuple[str, Any]:
    """A function, and a malformed input of its kind."""
    if chance.random() < 0.5:
        event = mutated(chance.choice(list(events().values())), chance)
        return chance.choice(["enforce", "publish", "alert"]), event
    queue = chance.choice(list(QUEUES))
    count = 1 if queue in {"SweepQueue", "PublishQueue"} else chance.randint(1, 3)
    bodies = [text_of(mutated(chance.choice(real[queue]), chance), chance) for _ in range(count)]
    return QUEUES[queue], {"Records": [record(number, body, queue) for number, body in enumerate(bodies)]}
