"""Guardrails and model IDs for property tests. Their alphabet is small, so patterns often match IDs."""

from __future__ import annotations

from hypothesis import strategies as st
from rolewarden.guardrails import Allowance, AssistantsRule, BedrockRule, Guardrail, JumpStartRule, Routes, RuleKind

_word = st.text("ab-", min_size=1, max_size=4)
_wild_word = st.text("ab-*?", min_size=1, max_size=4)
_version = st.sampled_from(["", ":0", ":1", ":0:8k"])

doors = st.sampled_from(Allowance)
bedrock_ids = st.builds(lambda provider, name, version: f"{provider}.{name}{version}", _word, _word, _version)
bedrock_patterns = st.builds(lambda provider, name: f"{provider}.{name}", _wild_word, _wild_word) | bedrock_ids
jumpstart_ids = st.text("ab-", min_size=1, max_size=6)
jumpstart_patterns = st.text("ab-*?", min_size=1, max_size=6)
arns = st.builds(
    "arn:aws:bedrock:{}:111122223333:{}/{}".format,
    st.sampled_from(["us-east-1", "eu-west-1"]),
    st.sampled_from(["provisioned-model", "custom-model", "imported-model", "application-inference-profile"]),
    st.text("abc1", min_size=1, max_size=3),
)

places = st.sampled_from(["us", "eu", "global"])
home_regions = st.sampled_from(["us-east-1", "us-*", "eu-central-1"])
application_profiles = st.sampled_from(
    [
        "arn:aws:bedrock:us-east-1:111122223333:application-inference-profile/ours",
        "arn:aws:bedrock:*:111122223333:application-inference-profile/*",
    ]
)
bedrock_guardrails = st.sampled_from(
    [
        "arn:aws:bedrock:us-east-1:111122223333:guardrail/strict",
        "arn:aws:bedrock:us-east-1:111122223333:guardrail/mild:3",
    ]
)
hub_names = st.sampled_from(["ours", "ours-too", "models"])
role_names = st.sampled_from(["Canvas*", "CanvasUsers", "SageMakerPipeline"])
bedrock_lists = st.lists(bedrock_patterns, min_size=1, max_size=4).map(tuple)
jumpstart_lists = st.lists(jumpstart_patterns, min_size=1, max_size=4).map(tuple)


KINDS: tuple[RuleKind, ...] = ("deny-all", "deny", "allow", "allow-all")


@st.composite
def bedrock_rules(draw: st.DrawFn) -> BedrockRule:
    kind = draw(st.sampled_from(KINDS))
    only_through = () if kind == "deny-all" else tuple(draw(st.lists(application_profiles, max_size=1)))
    limits = () if kind == "deny-all" or only_through else tuple(draw(st.lists(places, max_size=2, unique=True)))
    return BedrockRule(
        kind,
        draw(bedrock_lists) if kind in ("deny", "allow") else (),
        Allowance.DENY if kind in ("deny-all", "allow-all") else draw(doors),
        draw(doors),
        tuple(draw(st.lists(arns, max_size=2))),
        Allowance.ALLOW if kind == "deny-all" else draw(doors),
        Allowance.DENY if kind == "deny-all" else draw(doors),
        limits,
        () if kind == "deny-all" else tuple(draw(st.lists(home_regions, max_size=2, unique=True))),
        only_through,
        () if kind == "deny-all" else tuple(draw(st.lists(bedrock_guardrails, max_size=1))),
    )


@st.composite
def jumpstart_rules(draw: st.DrawFn) -> JumpStartRule:
    kind = draw(st.sampled_from(KINDS))
    customization = Allowance.DENY if kind == "deny-all" else draw(doors)
    is_listed = kind in ("deny", "allow")
    hubs = tuple(draw(st.lists(hub_names, max_size=2))) if kind == "deny-all" else ()
    return JumpStartRule(
        kind,
        draw(jumpstart_lists) if is_listed else (),
        customization,
        Allowance.ALLOW if kind.startswith("allow") or hubs else draw(doors),
        Allowance.DENY if kind == "allow-all" else draw(doors),
        draw(doors),
        Allowance.DENY if customization is Allowance.ALLOW else draw(doors),
        hubs,
        draw(doors),
    )


@st.composite
def guardrails(draw: st.DrawFn, name: str = "it") -> Guardrail:
    bedrock = draw(st.none() | bedrock_rules())
    jumpstart = draw(jumpstart_rules() if bedrock is None else st.none() | jumpstart_rules())
    assistants = draw(st.none() | st.just(AssistantsRule()))
    passed = tuple(draw(st.lists(role_names, max_size=2)))
    return Guardrail(
        name,
        bedrock,
        jumpstart,
        draw(st.sampled_from(Routes)),
        assistants=assistants,
        pass_roles=passed,
        api_keys=draw(doors),
    )


@st.composite
def matching(draw: st.DrawFn, pattern: str) -> str:
    """A text that `pattern` matches."""
    return "".join(
        draw(st.text("ab", max_size=2)) if char == "*" else draw(st.sampled_from("ab")) if char == "?" else char
        for char in pattern
    )
