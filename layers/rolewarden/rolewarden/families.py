"""The reader of the guardrails in guardrails.yaml: what each of them denies of the families of models."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from rolewarden.fields import ROLE_PATTERNS, Fields
from rolewarden.forms import (
    APPLICATION_PROFILE_ARN,
    BEDROCK_ARN,
    BEDROCK_GUARDRAIL_ARN,
    BEDROCK_PATTERN,
    GEOGRAPHY_NAME,
    GUARDRAIL_NAME,
    HUB,
    JUMPSTART_PATTERN,
    MAKERS,
    REGION_PATTERN,
)
from rolewarden.guardrails import (
    Allowance,
    AssistantsRule,
    BedrockRule,
    Guardrail,
    JumpStartRule,
    Mode,
    Routes,
    RuleKind,
)
from rolewarden.problems import Path_, Problems
from rolewarden.vocabulary import GEOGRAPHIES

_PUBLIC_HUB = "SageMakerPublicHub"
_NAMING_ARN = r"arn:aws[a-z-]*:bedrock:[a-z0-9-]*:[0-9]*:(foundation-model|inference-profile)/.+"
_NAMED_BESIDES = ("application-inference-profile", "prompt-router", "default-prompt-router")
"""Kinds of ARNs for which AWS authorizes a call on the models behind them, too."""
_INFERENCE_PROFILE = rf"({'|'.join(GEOGRAPHIES)})\."
_SYSTEM_PROFILE = r"(arn:aws[a-z-]*:bedrock:[a-z0-9*-]*:[0-9*]*:inference-profile/)?(?P<place>[a-z-]+)\..+"
_FAMILIES = ("bedrock", "jumpstart", "assistants")
_SWITCHES = ("api_keys", "other_profiles", "shared_spaces")
"""Options of a guardrail that close an access path of their own."""
_ALL_ASSISTANTS = "an assistant does not show its model: write `assistants: {deny: all}`"
_MODELS = "`{deny: all}`, `{deny: [model, ...]}` or `{allow: [model, ...]}`"
_DENIES_NOTHING = "allows every model, and no option denies anything: remove the whole entry, or add an option"
SOME_GUARDRAILS = "at least one guardrail, for example `no-bedrock: {bedrock: {deny: all}}`"


def read_guardrails(value: Any, mode: Mode, problems: Problems) -> dict[str, Guardrail]:
    """The guardrails in the mapping `value`. Mistakes become errors in `problems`.

    `mode` is the mode of a guardrail that names none.
    """
    return _GuardrailReader(problems).guardrails(value, mode)


class _GuardrailReader(Fields):
    def guardrails(self, value: Any, mode: Mode) -> dict[str, Guardrail]:
        path: Path_ = ("guardrails",)
        if not value and isinstance(value, dict | None):
            self.add_error(path, f"is empty: indent below it {SOME_GUARDRAILS}")
            return {}
        if not isinstance(value, dict):
            self.add_error(
                path, "must be a mapping of names to denied models, for example `no-bedrock: {bedrock: {deny: all}}`"
            )
            return {}
        lost = next((key for key in _FAMILIES if key in value), None)
        bare = next((name for name, body in value.items() if body is None), None)
        if lost and bare is not None and lost != bare:
            self.add_error((*path, bare), f"is empty: indent `{lost}` if it belongs below it")
            return {}
        found: dict[str, Guardrail] = {}
        policies: dict[str, str] = {}  # by the lower-case name, because IAM ignores case
        for name, body in value.items():
            if not re.fullmatch(GUARDRAIL_NAME, name):
                self.add_error(
                    (*path, name),
                    "is not a valid name for a guardrail: start with a letter, then use letters, digits, - and _, "
                    "100 characters at most (it becomes the name of an IAM policy)",
                )
            elif (other := policies.setdefault(name.lower(), name)) != name:
                self.add_error(
                    (*path, name),
                    f"is the same name as `{other}` for IAM: rename one of them, for example to `{name}-b`",
                )
            found[name] = self.guardrail(name, body, (*path, name), mode)
        for lowered, name in policies.items():
            base = policies.get(re.sub(r"-[0-9]+$", "", lowered), name)
            if base != name:
                self.add_error(
                    (*path, name),
                    f"`{base}-<number>` is reserved for further policies of `{base}`: rename it, for example to "
                    f"`{base}-b`",
                )
        return found

    def guardrail(self, name: str, value: Any, path: Path_, mode: Mode) -> Guardrail:
        body = self.mapping(value, path, {*_FAMILIES, "pass_roles", "routes", "mode", *_SWITCHES})
        allowing = {switch for switch in _SWITCHES if body.get(switch) == Allowance.ALLOW}
        denying = {*_FAMILIES, "pass_roles", *_SWITCHES} & (body.keys() - allowing)
        if not denying and isinstance(value, dict) and body.keys() == value.keys():
            self.add_error(
                path, "denies nothing: add `bedrock: {deny: all}`, `jumpstart: {deny: all}` or lists of models"
            )
        routes = self.choice(Routes, "routes", body, path, Routes.ALL)
        return Guardrail(
            name,
            self.bedrock(body["bedrock"], (*path, "bedrock"), routes) if "bedrock" in body else None,
            self.jumpstart(body["jumpstart"], (*path, "jumpstart"), routes) if "jumpstart" in body else None,
            routes,
            self.choice(Mode, "mode", body, path, mode),
            assistants=self.assistants(body["assistants"], (*path, "assistants")) if "assistants" in body else None,
            pass_roles=self.strings(body["pass_roles"], (*path, "pass_roles"), ROLE_PATTERNS, self.check_passed_role)
            if "pass_roles" in body
            else (),
            api_keys=self.choice(Allowance, "api_keys", body, path, Allowance.ALLOW),
            other_profiles=self.choice(Allowance, "other_profiles", body, path, Allowance.ALLOW),
            shared_spaces=self.choice(Allowance, "shared_spaces", body, path, Allowance.ALLOW),
        )

    def assistants(self, value: Any, path: Path_) -> AssistantsRule:
        body = self.mapping(value, path, {"deny"}, {"deny": _ALL_ASSISTANTS})
        if "deny" in body and body["deny"] != "all":
            self.add_error((*path, "deny"), _ALL_ASSISTANTS)
        return AssistantsRule()

    def check_passed_role(self, role: str, path: Path_) -> None:
        self.check_role_name(role, path)
        if set(role) <= set("*?"):
            self.add_error(path, f"`{role}` matches every role, so it restricts nothing: remove `pass_roles`")

    def bedrock(self, value: Any, path: Path_, routes: Routes) -> BedrockRule:
        choices = {"customization", "indirect", "batch", "rerank"}
        lists = {"allow_arns", "profiles", "regions", "only_through", "require_bedrock_guardrail"}
        body = self.family(value, path, {"deny", "allow", *choices, *lists})
        kind, patterns = self.models(body, path, self.check_bedrock_pattern)

        def listed(key: str, what: str, check: Callable[[str, Path_], None] | None = None) -> tuple[str, ...]:
            return tuple(dict.fromkeys(self.strings(body[key], (*path, key), what, check))) if key in body else ()

        rule = BedrockRule(
            kind,
            patterns,
            self.choice(Allowance, "customization", body, path, Allowance.DENY),
            self.choice(Allowance, "indirect", body, path, Allowance.DENY),
            listed("allow_arns", "a list of ARNs", lambda arn, place: self.check_allowed_arn(arn, kind, place)),
            self.choice(Allowance, "batch", body, path, Allowance.ALLOW),
            self.choice(Allowance, "rerank", body, path, Allowance.DENY),
            listed("profiles", "a list of geographies, for example `[eu]`", self.check_geography),
            listed("regions", "a list of regions, for example `[eu-central-1]`", self.check_region),
            listed("only_through", "a list of ARNs of application inference profiles", self.check_application_profile),
            listed(
                "require_bedrock_guardrail", "a list of ARNs of Amazon Bedrock Guardrails", self.check_bedrock_guardrail
            ),
        )
        self.warn_of_customization(rule.customization, body, path)
        for key in ("indirect", "batch"):
            self.warn_of_routes(key, routes, body, path)
        self.warn_of_restrictions(rule, body, path)
        return rule

    def warn_of_restrictions(self, rule: BedrockRule, body: dict[str, Any], path: Path_) -> None:
        """Add an error for each option that contradicts another one, or that has no effect next to it."""
        if rule.kind == "deny-all" and body.get("deny") == "all":
            needless = ["profiles", "only_through"]
            needless += [] if rule.allow_arns else ["regions", "require_bedrock_guardrail"]
            needless += ["batch"] if rule.batch is Allowance.DENY and not rule.allow_arns else []
            needless += ["rerank"] if rule.rerank is Allowance.ALLOW else []
            for key in needless:
                if key in body:
                    self.add_error(
                        (*path, key), f"`deny: all` leaves no model to which `{key}` could apply: remove one of them"
                    )
        elif rule.rerank is Allowance.ALLOW and rule.indirect is Allowance.ALLOW:
            self.add_error((*path, "rerank"), "`indirect: allow` already allows reranking: remove `rerank`")
        if rule.only_through and rule.profiles:
            self.add_error(
                (*path, "profiles"), "`only_through` already excludes the profiles of AWS: remove one of them"
            )
        for key in ("only_through", "require_bedrock_guardrail"):
            for option in ("batch", "rerank"):
                if getattr(rule, key) and body.get(option) == Allowance.ALLOW:
                    self.add_error(
                        (*path, option),
                        f"`{option}: allow` contradicts `{key}`, because these calls cannot meet it: remove one of "
                        "them",
                    )
        allowed = (rule.customization, rule.indirect, rule.batch)
        limits = (rule.profiles, rule.regions, rule.only_through, rule.require_bedrock_guardrail)
        if rule.kind == "allow-all" and set(allowed) == {Allowance.ALLOW} and not any(limits):
            self.add_error((*path, "allow"), _DENIES_NOTHING)

    def check_geography(self, place: str, path: Path_) -> None:
        if not re.fullmatch(GEOGRAPHY_NAME, place):
            known = re.match(_INFERENCE_PROFILE, place.lower())
            form = known[1] if known else "eu"
            self.add_error(path, f"`{place}` is not the geography of a profile: write it as `{form}`")
        elif place not in GEOGRAPHIES:
            self.problems.add_warning(
                path, f"`{place}` is not a geography that is known, such as {', '.join(GEOGRAPHIES)}: check its name"
            )

    def check_region(self, region: str, path: Path_) -> None:
        if set(region) <= set("*?-"):
            self.add_error(path, f"`{region}` is every region, so it restricts nothing: remove `regions`")
        elif not re.fullmatch(REGION_PATTERN, region):
            # People also write the name of a geography or of an Availability Zone.
            zone = re.match(r"[a-z]{2}(-[a-z]+)+-[0-9](?=[a-z]$)", region)
            way = f"`{zone[0]}`" if zone else "it as `eu-central-1`, or a pattern such as `eu-*`"
            way = f"`{region}-*`" if re.fullmatch("[a-z]{2}", region) else way
            self.add_error(path, f"`{region}` is not a region: write {way}")

    def check_application_profile(self, arn: str, path: Path_) -> None:
        system = re.fullmatch(_SYSTEM_PROFILE, arn)
        if system:
            self.add_error(path, f"`{arn}` is a profile of AWS: write `profiles: [{system['place']}]` instead")
        elif not re.fullmatch(APPLICATION_PROFILE_ARN, arn):
            self.add_error(
                path,
                f"`{arn}` is not an application inference profile: write it as "
                "`arn:aws:bedrock:eu-central-1:111122223333:application-inference-profile/abc123`, or with `*` for its "
                "ID",
            )

    def check_bedrock_guardrail(self, arn: str, path: Path_) -> None:
        if re.fullmatch(BEDROCK_GUARDRAIL_ARN, arn):
            return
        draft = arn.removesuffix(":DRAFT")
        if draft != arn and re.fullmatch(BEDROCK_GUARDRAIL_ARN, draft):
            form = f"write `{draft}`, which covers the draft and every version"
        else:
            form = (
                "write its ARN as `arn:aws:bedrock:eu-central-1:111122223333:guardrail/abc123`, or with `:1` for one "
                "version"
            )
        self.add_error(path, f"`{arn}` is not an Amazon Bedrock Guardrail: {form}")

    def jumpstart(self, value: Any, path: Path_, routes: Routes) -> JumpStartRule:
        options = {"customization", "weights", "autopilot", "indirect", "data_jobs", "hubs", "gated"}
        body = self.family(value, path, {"deny", "allow", *options})
        kind, patterns = self.models(body, path, self.check_jumpstart_pattern)
        what = "a list of names of private hubs, for example `[approved-models]`"
        rule = JumpStartRule(
            kind,
            patterns,
            self.choice(Allowance, "customization", body, path, Allowance.DENY),
            self.choice(Allowance, "weights", body, path, Allowance.ALLOW),
            self.choice(Allowance, "autopilot", body, path, Allowance.ALLOW),
            self.choice(Allowance, "indirect", body, path, Allowance.DENY),
            self.choice(Allowance, "data_jobs", body, path, Allowance.DENY),
            self.strings(body["hubs"], (*path, "hubs"), what, self.check_hub) if "hubs" in body else (),
            self.choice(Allowance, "gated", body, path, Allowance.ALLOW),
        )
        self.warn_of_customization(rule.customization, body, path)
        for key in ("customization", "indirect", "data_jobs", "gated"):
            self.warn_of_routes(key, routes, body, path)
        if rule.data_jobs is Allowance.ALLOW and rule.customization is Allowance.ALLOW:
            self.add_error((*path, "data_jobs"), "`customization: allow` already allows these jobs: remove `data_jobs`")
        if rule.hubs and kind != "deny-all":
            self.add_error(
                (*path, "hubs"), "`hubs` is an exception from `deny: all`: write `deny: all`, or remove `hubs`"
            )
        if kind == "deny-all" and body.get("gated") == Allowance.ALLOW:
            self.add_error((*path, "gated"), "`gated: allow` contradicts `deny: all`: remove one of them")
        if rule.weights is Allowance.DENY and (kind in ("allow", "allow-all") or rule.hubs):
            allowing, others = ("hubs", "of these hubs") if rule.hubs else ("allow", "of the allowed models")
            self.add_error(
                (*path, "weights"),
                f"`weights: deny` with `{allowing}` would also deny the files {others}, because S3 does not know "
                "models: remove it, or list models under `deny`",
            )
        beyond = () if routes is Routes.CANVAS else (rule.customization, rule.indirect, rule.gated)
        if kind == "allow-all" and {rule.autopilot, rule.weights, *beyond} == {Allowance.ALLOW}:
            self.add_error((*path, "allow"), _DENIES_NOTHING)
        return rule

    def check_hub(self, hub: str, path: Path_) -> None:
        if hub == _PUBLIC_HUB:
            self.add_error(path, f"`{hub}` has every model of JumpStart: name a private hub")
        elif not re.fullmatch(HUB, hub):
            self.add_error(path, f"`{hub}` is not the name of a hub: write it as `approved-models`, without wildcards")

    def family(self, value: Any, path: Path_, keys: set[str]) -> dict[str, Any]:
        if value is None or value == {}:
            self.add_error(path, f"is empty: write {_MODELS}")
            return {}
        body = self.mapping(value, path, keys)
        if body and body.keys() == value.keys() and not {"deny", "allow"} & body.keys():
            self.add_error(path, f"names no models: add {_MODELS}")
        return body

    def models(
        self, body: dict[str, Any], path: Path_, pattern: Callable[[str, Path_], None]
    ) -> tuple[RuleKind, tuple[str, ...]]:
        if "deny" in body and "allow" in body:
            self.add_error(path, "has both `deny` and `allow`: keep one (an allow list already denies everything else)")
            return "deny-all", ()
        if not {"deny", "allow"} & body.keys():
            return "deny-all", ()
        kind: RuleKind = "deny" if "deny" in body else "allow"
        listed = body[kind]
        if kind == "deny" and listed == "all":
            return "deny-all", ()

        def check(model: str, place: Path_) -> None:
            if not _is_every(model):
                pattern(model, place)
            elif kind == "deny":
                self.add_error(place, f"`{model}` names no model: write `deny: all` to deny every model")
            elif listed != [model]:
                self.add_error(place, f"`{model}` allows every model, so the other entries have no effect: remove them")

        if isinstance(listed, str) and _is_every(listed):
            if kind == "deny":
                check(listed, (*path, kind))
            return ("deny-all" if kind == "deny" else "allow-all"), ()
        what = "a list of model IDs, for example `[model, ...]`" + (", or `all`" if kind == "deny" else "")
        found = tuple(dict.fromkeys(self.strings(listed, (*path, kind), what, check)))
        return ("allow-all", ()) if kind == "allow" and any(map(_is_every, found)) else (kind, found)

    def warn_of_customization(self, customization: Allowance, body: dict[str, Any], path: Path_) -> None:
        if customization is Allowance.ALLOW and body.get("deny") == "all":
            self.add_error(
                (*path, "customization"),
                "`customization: allow` contradicts `deny: all`, which denies every use of a model: remove one of them",
            )

    def warn_of_routes(self, key: str, routes: Routes, body: dict[str, Any], path: Path_) -> None:
        if routes is Routes.CANVAS and body.get(key) == Allowance.DENY:
            self.add_error(
                (*path, key),
                f"`{key}: deny` contradicts `routes: canvas`, which closes only access paths that Canvas uses: "
                "remove one of them",
            )

    def check_allowed_arn(self, arn: str, kind: RuleKind, path: Path_) -> None:
        known = re.fullmatch(BEDROCK_ARN, arn)
        if re.fullmatch(_NAMING_ARN, arn):
            self.add_error(path, self.named_by(arn, kind))
        elif "*" in arn or "?" in arn:
            self.add_error(path, f"`{arn}` has a wildcard, so the models that it leads to are unknown: list each ARN")
        elif not known:
            self.add_error(
                path,
                f"`{arn}` is not a supported model ARN: write it as "
                "`arn:aws:bedrock:us-east-1:111122223333:provisioned-model/abc123`",
            )
        elif kind == "deny-all" and known["kind"] in _NAMED_BESIDES:
            self.add_error(
                path,
                f"`{arn}` would still be denied, because AWS authorizes the call on its models, too: list the models "
                "under `allow` instead of `deny: all`",
            )

    def named_by(self, arn: str, kind: RuleKind) -> str:
        """The message about an ARN in `allow_arns` that names its model."""
        if kind == "deny":
            return f"`{arn}` names its model, about which the list under `deny` decides: remove it"
        found = self.problems.names.bedrock_fault(arn, "allow")
        model = found.pattern if found else ""
        example = f"`{model}`" if model else "the ID of the model"
        if kind in ("allow", "allow-all"):
            return f"`{arn}` names its model: write {example} under `allow`, not its ARN"
        return f"`{arn}` names its model: write {example} under `allow` instead of `deny: all`"

    def best_form(self, text: str, place: Path_) -> str:
        """The form of a correct text that gets no warning: a denied model has a `*` for its versions."""
        _, _, family, kind, *_ = map(str, place)
        return self.problems.names.best(family, text, kind) if kind in ("deny", "allow") else text

    def check_bedrock_pattern(self, model: str, path: Path_) -> None:
        # A function reads a file without mistakes, and then does not import the module that corrects them.
        if re.fullmatch(BEDROCK_PATTERN, model) and model.partition(".")[0] in MAKERS:
            return
        if fault := self.problems.names.bedrock_fault(model, str(path[-2])):
            way = fault.way or "write a model ID, for example `anthropic.claude-v2*`"
            self.add_error(path, f"`{model}` {fault.fault}: {way}")

    def check_jumpstart_pattern(self, model: str, path: Path_) -> None:
        if re.fullmatch(JUMPSTART_PATTERN, model) and "." not in model:
            return
        if fault := self.problems.names.jumpstart_fault(model, str(path[-2])):
            way = fault.way or "write a model ID, for example `huggingface-llm-falcon-*`"
            self.add_error(path, f"`{model}` {fault.fault}: {way}")


def _is_every(pattern: str) -> bool:
    """Whether `pattern` means every model, by the word `all` or by wildcards only."""
    return pattern.lower() == "all" or bool(pattern and set(pattern) <= set("*?."))
