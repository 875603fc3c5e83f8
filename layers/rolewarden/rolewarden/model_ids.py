"""Model IDs in the forms in which people write them, and the patterns of guardrails.yaml that mean the same models.

People copy the names that the console shows, ARNs, inference profiles, and the names that other programs use. A
correction needs the list of known models, so that it names a model that exists: `rolewarden check` has the list, and
a deployed function does not need it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from difflib import get_close_matches
from functools import cached_property
from typing import NamedTuple

from rolewarden.forms import BEDROCK_ARN, BEDROCK_PATTERN, GEOGRAPHY, JUMPSTART_PATTERN, MAKERS, PROVIDERS
from rolewarden.known import KnownModels
from rolewarden.matching import longest_part, matches

_BEDROCK_ARN = r"arn:aws[a-z-]*:bedrock:[^:]*:[^:]*:[a-z-]+/.+"
_HUB_ARN = r"arn:aws[a-z-]*:sagemaker:[^:]*:[^:]*:hub-content/[^/]*/[^/]*/(?P<id>[^/]+)(/.*)?"
_JUMPSTART_VERSION = r"\s*(?:[/:@,]|==?|\s)\s*(?:version\s*)?v?(?:[0-9]+(?:\.(?:[0-9]+|\*))+|\*|latest)$"
_WRAPPERS = (
    r"^(?:(?:amazon-?)?bedrock(?:[-_](?:converse|runtime|mantle))?|litellm|converse(?:[-_]like)?|invoke|openrouter|aws|"
    r"foundation-model|inference-profile|model(?:id)?|[a-z]{2}(?:-gov)?-[a-z]+-[0-9])\s*[/:=]\s*"
)
"""The texts that other programs write before the ID of a Bedrock model: their name, the name of Bedrock or a region."""

_PROFILE = "names an inference profile, which the pattern of its model covers, too"

_DATE = r"20[0-9]{6}"
_VERSION = rf"(?:-{_DATE})?(?:-v[0-9]+)?(?:-[0-9]+(?=:))?(?::[0-9]+)*(?::[a-z0-9]+)*$"
"""The end of the ID of a Bedrock model that only says which version of the model it is."""

_WORD = r"(?:bf|fp|int)[0-9]+|[a-z]+|[0-9]+"
_WORDS = (
    (r"\b([0-9][0-9])\.([0-9][0-9])\b", r"\1\2"),
    (r"\+", " plus "),
    (r"(?<=b)-chat-hf\b", "-f"),
    (r"\bembeddings?\b", "embed"),
    (r"\btitan multimodal embed\b", "titan embed image"),
    (r"\bsdxl\b", "stable diffusion xl"),
    (r"\bstable diffusion (?=3)", "sd"),
    (r"\bjurassic[ -]2\b", "j2"),
    (r"\bz\.ai\b", "zai"),
    (r"\bg1\b(?!.*\bv[0-9])", "v1"),
    (r"\bg1\b", " "),
)
"""The words of the names in the console that the IDs write in another way."""

_NOISE = frozenset(
    (
        *("ai", "and", "aws", "bedrock", "dense", "for", "foundation", "inc", "labs", "latest", "model", "models"),
        *("moe", "of", "the"),
    )
)
"""Words that say nothing about which model is meant."""

_SOFT = frozenset(("chat", "hf", "instruct", "it", "text", "vision"))
"""Words that a name often omits or adds. A model with the word and one without it rarely both exist."""

_FRAMEWORKS = frozenset(
    (
        *("bf16", "fp16", "generation", "huggingface", "llm", "meta", "model", "openai", "pytorch", "reasoning"),
        *("tensorflow", "text", "textgeneration", "vlm"),
    )
)
"""The parts of a JumpStart ID that name its source, its task and its number format."""


class Correction(NamedTuple):
    """The mistake in a text that is no pattern, and the pattern to write.

    - `fault`: what the text is, as the end of a sentence that begins with the text.
    - `pattern`: the pattern that means the same models. Empty if none does.
    - `key`: the key under which the pattern belongs. Empty for the list that the text is in.
    - `similar`: IDs of models that the text may mean, if `pattern` is empty.
    - `advice`: what to do, if no model can take the place of the text.
    """

    fault: str
    pattern: str = ""
    key: str = ""
    similar: tuple[str, ...] = ()
    advice: str = ""

    @property
    def way(self) -> str:
        """The text to write instead; empty if no pattern and no similar model is known."""
        if self.pattern:
            return f"write `{self.pattern}`" + (f" under `{self.key}`" if self.key else "")
        if self.similar:
            return "write a known model ID, for example " + ", ".join(f"`{one}`" for one in self.similar)
        return self.advice


class ListedModels:
    """The known IDs of one family, with the words of each."""

    def __init__(self, ids: Sequence[str]) -> None:
        self.ids = tuple(ids)
        self.text = "\n".join(self.ids)
        self.searches_left = SEARCHES

    @cached_property
    def words(self) -> dict[str, _Words]:
        """The words of each ID."""
        return {one: _Words.of(one) for one in self.ids}

    @cached_property
    def by_word(self) -> dict[str, set[str]]:
        """The IDs that have a word, by the word."""
        found: dict[str, set[str]] = {}
        for one, words in self.words.items():
            for word in (*words.provider, *words.name, *words.version):
                found.setdefault(word, set()).add(one)
        return found

    @cached_property
    def by_lower_case(self) -> dict[str, str]:
        """Each ID by its lower-case form."""
        return {one.lower(): one for one in self.ids}

    def matching(self, pattern: str) -> list[str]:
        """The IDs that match `pattern`."""
        # Most patterns of a long list match nothing, and the search for a part of them is quick.
        if longest_part(pattern) not in self.text:
            return []
        return [one for one in self.ids if matches(pattern, one)]

    def near(self, text: str) -> tuple[str, ...]:
        """Up to three IDs that look like `text`. A search takes milliseconds, so only the first ones of a file run."""
        self.searches_left -= 1
        return tuple(get_close_matches(text.strip("*?"), self.ids, 3, 0.6)) if self.searches_left >= 0 else ()

    def closest(self, text: str) -> tuple[float, list[str]]:
        """The IDs that have all words of `text`, and the fewest others, with the weight of the others."""
        asked = _asked(text)
        hard = [word for word in asked if word not in _SOFT]
        if not any(word.isalpha() and len(word) > 1 for word in hard):
            return 0, []
        sets = sorted((self.by_word.get(word, set()) for word in hard), key=len)
        ordered = [one for one in set.intersection(*sets) if self.words[one].in_order(asked)]
        weights = {one: self.words[one].weight(asked) for one in ordered}
        least = min(weights.values(), default=0)
        return least, sorted(one for one, weight in weights.items() if weight == least)

    def beginning(self, text: str) -> str:
        """The beginning that all IDs share whose name begins with the words of `text`; empty if they share none."""
        asked = re.findall(_WORD, _reworded(text))
        if any(word not in self.by_word for word in asked):
            return ""
        found = {one[: words.end_of(asked, one)] for one, words in self.words.items()} - {""} if asked else set()
        return found.pop() if len(found) == 1 else ""

    def only(self, ids: Sequence[str], *, has_version: bool) -> str:
        """The shortest pattern that matches all of `ids`, which are versions of one Bedrock model, and no other model.

        With `has_version`, the pattern contains the version. Empty if no pattern does.
        """
        first = min(ids, key=len)
        least = len(stem_of(first))
        if has_version and (version := re.match(r"(?:-20[0-9]{6})?-v[0-9]+(?:-[0-9]+)?", first[least:])):
            least += version.end()
        ends = {least, *(found.start() for found in re.finditer(r"[-:]", first)), len(first)}
        for end in sorted(end for end in ends if end >= least):
            if {one for one in self.ids if one.startswith(first[:end])} == set(ids):
                return f"{first[:end]}*"
        return first if len(ids) == 1 else ""


SEARCHES = 12
"""The number of searches for similar IDs in one file."""


class _Words(NamedTuple):
    """The words of an ID: those of its provider, its name and its version."""

    provider: list[str]
    name: list[str]
    version: list[str]

    @classmethod
    def of(cls, model: str) -> _Words:
        provider, dot, name = model.lower().partition(".")
        if not dot or "-" in provider:  # a JumpStart ID, which can contain a dot
            return cls([], re.findall(_WORD, _reworded(model)), [])
        stem = stem_of(model.lower()).partition(".")[2]
        version = name[len(stem) :]
        return cls(re.findall(_WORD, provider), re.findall(_WORD, _reworded(stem)), re.findall(_WORD, version))

    def weight(self, asked: list[str]) -> float:
        """The distance of the ID from the words `asked`."""
        left = Counter(asked)
        total = 0.0
        for word in self.name:
            if left[word] > 0:
                left[word] -= 1
            else:
                total += 0.5 if word in _SOFT else 0.1 if not self.provider and word in _FRAMEWORKS else 1
        for word in self.provider:
            left[word] -= left[word] > 0
        for word in self.version:
            if left[word] > 0:
                left[word] -= 1
                # A number that only the version has was hardly meant, unless the text has a version, too.
                total += 0 if "v" in asked or len(word) == len("20240101") else 1
        return total + sum(2 if word in _SOFT else 4 for word in left.elements())

    def in_order(self, asked: list[str]) -> bool:
        """Whether the ID has its words in the order of `asked`. If it has a provider, only numbers have an order."""
        own = iter((*self.name, *self.version))
        wanted = [word for word in asked if (re.fullmatch("[0-9]+", word) if self.provider else word not in _SOFT)]
        return all(word in own for word in wanted)

    def end_of(self, asked: list[str], model: str) -> int:
        """The place in `model` at which the words `asked` end; 0 if its name does not begin with them."""
        number = len(asked)
        if self.name[:number] == asked:
            number += len(self.provider)
        elif [*self.provider, *self.name][:number] != asked:
            return 0
        return [found.end() for found in re.finditer(_WORD, model.lower())][number - 1]


def stem_of(model: str) -> str:
    """The ID of a Bedrock model without its date and version."""
    return re.sub(_VERSION, "", model, count=1)


def _reworded(text: str) -> str:
    text = text.lower().replace("_", "-")
    for pattern, words in _WORDS:
        text = re.sub(pattern, words, text)
    return text


def _asked(text: str) -> list[str]:
    return [word for word in re.findall(_WORD, _reworded(text)) if word not in _NOISE]


class ModelNames:
    """Corrects the texts in the lists of one file. Without known models, it corrects only the form of a text."""

    def __init__(self, known: KnownModels | None = None) -> None:
        self.known = known
        self.bedrock = ListedModels(known.bedrock if known else ())
        self.jumpstart = ListedModels(known.jumpstart if known else ())

    @cached_property
    def makers(self) -> frozenset[str]:
        """The providers of Bedrock models."""
        return MAKERS | frozenset(one.partition(".")[0] for one in self.bedrock.ids)

    def bedrock_fault(self, text: str, kind: str) -> Correction | None:
        """The correction of `text` in a list of Bedrock models; None if it has the form of a pattern.

        `kind` is the key of the list: "deny" or "allow".
        """
        found = self._bedrock_fault(text, kind)
        return self._sound(found, kind, "bedrock") if found else None

    def _sound(self, found: Correction, kind: str, family: str) -> Correction:
        """`found` for a list of `family`, without a pattern that would itself be a fault."""
        checks = {"bedrock": self._bedrock_fault, "jumpstart": self._jumpstart_fault}
        check = checks.get(found.key or family)
        if not found.pattern or not check:
            return found
        means_all = set(found.pattern) <= set("*?.") or found.pattern.lower() == "all"
        if means_all or check(found.pattern, kind):
            return found._replace(pattern="", key="")
        return found._replace(pattern=self.best(found.key or family, found.pattern, kind))

    def best(self, family: str, pattern: str, kind: str) -> str:
        """`pattern`, or one for the same models that gets no warning, if the known models have one."""
        if family == "bedrock":
            pattern = self.settled(pattern, kind)
        models = self.bedrock if family == "bedrock" else self.jumpstart
        if not models.ids or models.matching(pattern):
            return pattern
        found = self._of_words(pattern, models, kind)
        return found if isinstance(found, str) and found else pattern

    def _bedrock_fault(self, text: str, kind: str) -> Correction | None:
        if text.lower().startswith("arn:"):
            return self._of_arn(text, kind)
        bare = self._unwrapped(text)
        provider, _, name = bare.lower().partition(".")
        second = name.partition(".")[0]
        if "." in name and (re.match(GEOGRAPHY, bare, re.I) or (second in self.makers and provider not in self.makers)):
            return self._under(_PROFILE, name, kind)
        if re.match(GEOGRAPHY, bare, re.I) and name:
            return self._of_name(name, kind)._replace(fault=_PROFILE)
        has_form = re.fullmatch(BEDROCK_PATTERN, bare.lower()) is not None
        if has_form and (provider in self.makers or not _family(provider)) and not self._is_jumpstart(bare):
            if bare == text and bare == bare.lower():
                return None
            lower = "matches no model, because model IDs are lower case"
            return Correction(lower if bare == text else "is not a Bedrock model ID", self.settled(bare.lower(), kind))
        if self._is_jumpstart(bare):
            return Correction("is a JumpStart model ID", self._jumpstart_id(bare), "jumpstart")
        return self._of_name(bare, kind)

    def jumpstart_fault(self, text: str, kind: str) -> Correction | None:
        """The correction of `text` in a list of JumpStart models, as `bedrock_fault`."""
        found = self._jumpstart_fault(text, kind)
        return self._sound(found, kind, "jumpstart") if found else None

    def _jumpstart_fault(self, text: str, kind: str) -> Correction | None:
        if hub := re.fullmatch(_HUB_ARN, text, re.I):
            return Correction("is an ARN", self._jumpstart_id(hub["id"]))
        if text.lower().startswith("arn:") and ":bedrock:" in text:
            of_arn = self._of_arn(text, kind)
            return of_arn._replace(key=of_arn.key or "bedrock") if of_arn.pattern else of_arn
        if text.lower().startswith("arn:"):
            return Correction("is an ARN that does not name a JumpStart model")
        plain = re.sub(_JUMPSTART_VERSION, "", text, flags=re.I)
        if plain != text and re.fullmatch(JUMPSTART_PATTERN, plain):
            return Correction("has a version, and a guardrail applies to every version", self._jumpstart_id(plain))
        provider, dot, name = text.lower().partition(".")
        is_profile = re.match(GEOGRAPHY, text, re.I) and name.partition(".")[0] in self.makers
        if dot and (provider in self.makers or is_profile) and not self._is_jumpstart(text):
            lower = text.lower()
            found = self.bedrock_fault(lower, kind)
            return Correction("is a Bedrock model ID", found.pattern if found else self.settled(lower, kind), "bedrock")
        if re.fullmatch(JUMPSTART_PATTERN, text):
            return None
        return self.unknown("jumpstart", plain, kind, "is not a JumpStart model ID")

    def unknown(self, family: str, text: str, kind: str, fault: str) -> Correction:
        """The correction of a text that matches no known model of `family`."""
        models = self.bedrock if family == "bedrock" else self.jumpstart
        if not models.ids:
            return Correction(fault, f"{text.lower()}.*" if family == "bedrock" and text.lower() in MAKERS else "")
        if family == "bedrock" and (settled := self.settled(text, kind)) != text and models.matching(settled):
            return Correction(fault, settled)
        pattern = self._of_words(text, models, kind)
        if isinstance(pattern, str) and pattern:
            return Correction(fault, pattern)
        return Correction(fault, similar=tuple(pattern) or models.near(text))

    def every_version(self, pattern: str) -> str:
        """`pattern` with a `*` for the versions of its models; without it if the `*` would also match other models."""
        if pattern.endswith("*"):
            return pattern
        matched = set(self.bedrock.matching(pattern))
        stems = {stem_of(one) for one in matched}
        longer = [one for one in self.bedrock.matching(f"{pattern}*") if one not in matched]
        return pattern if matched and any(stem_of(one) not in stems for one in longer) else f"{pattern}*"

    def _under(self, fault: str, text: str, kind: str) -> Correction:
        """The correction of something that contains `text`, which may be an ID."""
        found = self.bedrock_fault(text, kind)
        return found._replace(fault=fault) if found else Correction(fault, self.settled(text, kind))

    def _of_arn(self, text: str, kind: str) -> Correction:
        if hub := re.fullmatch(_HUB_ARN, text, re.I):
            return Correction("is the ARN of a JumpStart model", self._jumpstart_id(hub["id"]), "jumpstart")
        if not re.fullmatch(_BEDROCK_ARN, text, re.I):
            return Correction("is not the ARN of a Bedrock model")
        resource, _, rest = text.split(":", 5)[5].partition("/")
        if resource.lower() in ("foundation-model", "inference-profile"):
            return self._under("is an ARN", rest.lower(), kind)
        if kind != "allow":
            fault = "is an ARN that does not name its model, so a list of denied models cannot contain it"
            return Correction(fault, advice="remove it")
        if not re.fullmatch(BEDROCK_ARN, text):
            return Correction("is an ARN that does not name its model")
        return Correction("is an ARN that does not name its model", text, "allow_arns")

    def settled(self, pattern: str, kind: str) -> str:
        """`pattern`, or one that means the same models and that gets no warning."""
        if not set(pattern) & set("*?") and self.bedrock.ids and not self.bedrock.matching(pattern):
            shorter = re.sub(r"(:[0-9]+k|:mm)$", "", pattern)  # the end of an ID that names the length of its context
            if shorter != pattern and self.bedrock.matching(shorter):
                return self.settled(shorter, kind)
            found = self._of_words(pattern, self.bedrock, kind)
            if isinstance(found, str) and found:
                return found
        return self.every_version(pattern) if kind == "deny" else pattern

    def _unwrapped(self, text: str) -> str:
        before, text = "", text.rstrip(",;")
        while before != text:
            before, text = text, re.sub(_WRAPPERS, "", text, flags=re.I)
        provider, colon, name = text.partition(":")
        if colon and provider.lower() in self.makers:
            text = f"{provider}.{name}"
        last = text.rpartition("/")[2]
        return last if "/" in text and last.lower().partition(".")[0] in self.makers else text

    def _of_name(self, text: str, kind: str) -> Correction:
        """The correction of a name without its provider, such as a name in the console."""
        is_plain = re.fullmatch(r"[A-Za-z0-9.:*?-]+", text) and text.partition(".")[0].lower() not in self.makers
        fault = "has no provider, so it would match no model" if is_plain else "is not a Bedrock model ID"
        slug = re.sub(r"[^a-z0-9.:*?-]+", "-", text.lower())
        if set(slug) & set("*?"):
            found = {one.partition(".")[0] for one in self.bedrock.matching(f"*.{slug}")}
            if len(found) == 1:
                return Correction(fault, f"{found.pop()}.{slug}")
        correction = self.unknown("bedrock", text.rstrip("*"), kind, fault)
        maker = _family(slug)
        whole = slug if slug.partition(".")[0] in self.makers else f"{maker}.{slug}" if maker and is_plain else ""
        if not correction.pattern and re.fullmatch(BEDROCK_PATTERN, whole):
            guess = f"{whole.rstrip('*')}*"
            if not self.bedrock.ids or self.bedrock.matching(guess):
                return Correction(fault, guess)
        return correction

    def _of_words(self, text: str, models: ListedModels, kind: str) -> str | tuple[str, ...]:
        """A pattern for the models that have the words of `text`; some models if it can mean several."""
        pattern, several = self._jumpstart_words(text) if models is self.jumpstart else self._bedrock_words(text)
        if not pattern and "/" in text:  # the name of an organization on Hugging Face, which few IDs contain
            return self._of_words(text.rpartition("/")[2], models, kind)
        if models is self.bedrock and pattern and kind == "deny":
            pattern = self.every_version(pattern)
        return pattern if pattern and models.matching(pattern) else several

    def _jumpstart_words(self, text: str) -> tuple[str, tuple[str, ...]]:
        models, lower = self.jumpstart, text.lower()
        same = (
            [one for low, one in models.by_lower_case.items() if matches(lower, low)] if set(text) & set("*?") else []
        )
        if same:
            beginning = lower.rstrip("*")
            begins = {one[: len(beginning)] for one in same if one.lower().startswith(beginning)}
            if len(begins) == 1 and lower.endswith("*"):
                return f"{begins.pop()}*", ()
            return (lower if models.matching(lower) else same[0] if len(same) == 1 else ""), tuple(same[:3])
        weight, found = models.closest(text)
        if len(found) == 1 and weight < 1:
            return found[0], ()
        slug = re.sub(r"[^a-z0-9]+", "-", lower).strip("-")
        if re.search(r"[a-z]{3}", slug) and models.matching(f"*{slug}*"):
            return f"*{slug}*", ()
        return (found[0] if len(found) == 1 else ""), tuple(found[:3])

    def _bedrock_words(self, text: str) -> tuple[str, tuple[str, ...]]:
        models, maker = self.bedrock, text.lower().strip(".*? ")
        if maker in self.makers and models.matching(f"{maker}.*"):
            return f"{maker}.*", ()
        weight, found = models.closest(text)
        pattern = ""
        if found and len({stem_of(one) for one in found}) == 1:
            versions = {word for one in found for word in models.words[one].version if not re.fullmatch(_DATE, word)}
            left = Counter(_asked(text)) - Counter(models.words[found[0]].name)
            pattern = models.only(found, has_version=bool(versions & left.keys()))
        beginning = models.beginning(text)
        if beginning and not (pattern and weight < 1):
            return f"{beginning}*", ()
        return pattern, tuple(found[:3])

    def _is_jumpstart(self, text: str) -> bool:
        return text.lower() in self.jumpstart.by_lower_case

    def _jumpstart_id(self, text: str) -> str:
        return self.jumpstart.by_lower_case.get(text.lower(), text)


def _family(text: str) -> str:
    """The provider of the family with which a name begins; empty for an unknown family."""
    return next((PROVIDERS[one] for one in PROVIDERS if re.match(rf"{one}(?![a-z])", text.lower())), "")
