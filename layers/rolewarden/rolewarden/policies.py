"""The compiler: it turns a guardrail into IAM policies, and several guardrails into their fallback boundary.

Each known access path to a model has a statement, whose Sid names the path. docs/reference/guardrails.md says what
each statement denies and which access paths stay open. The same guardrail always compiles to the same bytes.
`rolewarden.vocabulary` has the actions, tags and resources of the statements, with the sources of the facts.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from rolewarden import POLICY_PATH
from rolewarden.errors import RulesError
from rolewarden.guardrails import (
    Allowance,
    AssistantsRule,
    BedrockRule,
    ExemptRole,
    Fallback,
    Guardrail,
    JumpStartRule,
    Routes,
    RuleKind,
    Rules,
)
from rolewarden.matching import fewest
from rolewarden.names import folded
from rolewarden.packing import (
    POLICY_SIZE,
    Document,
    Indivisible,
    Statement,
    allowing,
    document_of,
    numbered,
    packed,
    pieces_of,
    shortest,
    size,
)
from rolewarden.vocabulary import (
    API_KEY_SERVICES,
    APPLICATION_PROFILE,
    ASSISTANTS,
    BATCH,
    BATCHES,
    CANVAS_ASSISTANTS,
    CANVAS_CREATE,
    CANVAS_CUSTOMIZE,
    CANVAS_USE,
    CREATE,
    CREATE_API_KEY,
    CREATE_JOB,
    CUSTOM_MODELS,
    CUSTOMIZE,
    CUSTOMIZE_NAMED,
    CUSTOMIZE_NAMED_BY_CANVAS,
    CUSTOMIZE_ON_MANTLE,
    CUSTOMIZE_SERVERLESS,
    DATA_JOBS,
    GATEWAYS,
    GEOGRAPHIES,
    HUB_TAGS,
    IMPORT,
    IMPORTED_MODEL,
    INFER_ON_MANTLE,
    INVOKE,
    JOBS,
    JUMPSTART_TAGS,
    MARK_TAG,
    NO_MODELS,
    OTHER_PLATFORMS,
    OTHER_TAG_KEYS,
    OWN_PROFILE,
    PASSED_TO,
    PASSED_TO_BEDROCK,
    RENAME_CUSTOMIZED,
    RENAME_IN_HUB,
    RENAME_MODEL,
    RERANK,
    SET_TAGS,
    SPACE_OWNER,
    SPACE_PROFILE_TAG,
    SPACE_SHARING,
    TAG_KEYS,
    THROUGH_BEDROCK,
    USE_ANY_MODEL,
    USE_ANY_MODEL_ON_MANTLE,
    USE_API_KEY,
    USE_HOSTED_INDIRECTLY,
    USE_HUB,
    USE_INDIRECTLY,
    USE_ROLE,
    USE_SPACES,
    USE_TAGGED,
    WEIGHT_BUCKETS,
    WRAP,
)

DESCRIPTION = "A guardrail of Rolewarden: edit guardrails.yaml"
"""The description of every policy that Rolewarden creates. Rolewarden deletes no policy with another description."""

NAME_SIZE = 128
"""The greatest number of characters of a managed policy's name (IAM and STS quotas, IAM User Guide)."""

BOUNDARY = "boundary."
"""The beginning of a boundary's name. The name of a guardrail cannot begin so, because it contains no dot."""

ALL_THAT_IS_NOT_DENIED = {"Sid": "AllThatIsNotDenied", "Effect": "Allow", "Action": "*", "Resource": "*"}
"""The statement of a boundary that allows everything. It grants nothing and does not limit the role's policies, so that
only the boundary's denies have an effect."""

SID_FAMILIES = (
    "Bedrock",
    "JumpStart",
    "Assistants",
    "PassRole",
    "OtherProfiles",
    "SharedSpaces",
    "ExemptRoles",
    "FixedTags",
    "ApiKey",
)
"""The Sid of every deny that the compiler writes begins with one of these."""


USER_KEY = "aws:SourceIdentity"
"""The condition key with the name of the user profile, if the domain sets it:
https://docs.aws.amazon.com/sagemaker/latest/dg/monitor-user-access.html"""

USER_OPERATORS = ("StringNotEqualsIgnoreCase", "StringEqualsIgnoreCase")
"""The operators with which a statement concerns all users except some, and only some."""

PROFILE_KEY = "bedrock:InferenceProfileArn"
REGION_KEY = "aws:RequestedRegion"
BEDROCK_GUARDRAIL_KEY = "bedrock:GuardrailIdentifier"
GATED_KEY = "sagemaker:DirectGatedModelAccess"
MANTLE_KEY = "bedrock-mantle:Model"


class TooLong(RulesError):
    """A list of guardrails.yaml does not fit an IAM policy and cannot be divided.

    `where` is the path of the rule in the file.
    """

    def __init__(self, where: tuple[str, ...]) -> None:
        self.where = where
        self.reason = (
            f"the allow list does not fit an IAM policy ({POLICY_SIZE:,} characters) and cannot be divided without "
            "changing its meaning: write families, such as `anthropic.claude-*`, or fewer models"
        )
        super().__init__(f"{'.'.join(where)}: {self.reason}")


class BoundaryTooLong(RulesError):
    """The denies of some guardrails together do not fit one policy, and a role can have only one boundary."""

    def __init__(self, characters: int) -> None:
        self.reason = f"takes {characters:,} of the {POLICY_SIZE:,} characters of an IAM policy, and cannot be divided"
        super().__init__(self.reason)


class Policy(NamedTuple):
    """An IAM managed policy under `/rolewarden/`."""

    name: str
    document: Document

    @property
    def text(self) -> str:
        """The document as JSON without white space, as Rolewarden publishes it."""
        return json.dumps(self.document, separators=(",", ":"))

    def arn(self, partition: str, account: str) -> str:
        """Its ARN in `account`."""
        return policy_arn(self.name, partition, account)


def policy_arn(name: str, partition: str, account: str) -> str:
    """The ARN of Rolewarden's policy `name` in `account`."""
    return f"arn:{partition}:iam::{account}:policy{POLICY_PATH}{name}"


def boundary_name(guardrails: Iterable[str]) -> str:
    """The name of the fallback boundary for these guardrails. It does not depend on their order."""
    joined = "+".join(sorted(guardrails))
    name = f"{BOUNDARY}{joined}"
    return name if len(name) <= NAME_SIZE else f"{BOUNDARY}{hashlib.sha256(joined.encode()).hexdigest()[:32]}"


def is_boundary(policy: str) -> bool:
    """Whether a policy under `/rolewarden/` of this name is a boundary.

    A boundary is never attached as a policy, because it allows everything.
    """
    return folded(policy).startswith(BOUNDARY)


def compile_rules(rules: Rules, partition: str) -> tuple[Policy, ...]:
    """All policies of all guardrails, in the order of the file, and the fallback boundaries.

    Raises TooLong if an allow list is longer than a policy can hold.
    """
    guardrails = (compile_guardrail(guardrail, partition) for guardrail in rules.guardrails.values())
    of_users = itertools.chain.from_iterable(compile_for_users(rules, partition).values())
    return (*itertools.chain.from_iterable(guardrails), *of_users, *compile_boundaries(rules, partition))


def compile_for_users(rules: Rules, partition: str) -> dict[str, tuple[Policy, ...]]:
    """The policies of the guardrails that tell users of a shared role apart, by the name of the guardrail.

    A guardrail that does not fit with the names of its users has none. Its users then cannot be told apart.
    """
    found = {}
    for name, guardrail in rules.for_users.items():
        try:
            found[name] = compile_guardrail(guardrail, partition)
        except TooLong:
            continue
    return found


def compile_boundaries(rules: Rules, partition: str) -> tuple[Policy, ...]:
    """The fallback boundaries: one for each set of guardrails that an assignment names together.

    Empty without `fallback: boundary`. A set whose denies do not fit one policy has no boundary. Raises TooLong as
    `compile_rules` does.
    """
    if rules.fallback is not Fallback.BOUNDARY:
        return ()
    found = []
    for names in rules.enforced_together:
        try:
            found.append(compile_boundary([rules.guardrails[name] for name in names], partition))
        except BoundaryTooLong:
            # `rolewarden check` warns of this set, and a role that would need its boundary is unenforceable.
            continue
    return tuple(found)


def compile_boundary(guardrails: Iterable[Guardrail], partition: str) -> Policy:
    """The permissions boundary that denies what `guardrails` deny, and nothing else.

    Raises BoundaryTooLong, and TooLong as `compile_guardrail` does.
    """
    ordered = sorted(guardrails, key=lambda guardrail: guardrail.name)
    pieces = [piece for guardrail in ordered for piece in denies(guardrail, partition)]
    # Guardrails share many statements, and a second equal deny has no effect.
    once = {json.dumps(piece): piece for piece in pieces}
    document = document_of([ALL_THAT_IS_NOT_DENIED, *numbered(list(once.values()))])
    if size(document) > POLICY_SIZE:
        raise BoundaryTooLong(size(document))
    return Policy(boundary_name(guardrail.name for guardrail in ordered), document)


def compile_guardrail(guardrail: Guardrail, partition: str) -> tuple[Policy, ...]:
    """The policies of `guardrail`: one, or several if the statements do not fit one.

    Each policy counts against the quota of managed policies per role. Raises TooLong if an allow list is longer than a
    policy can hold.
    """
    return tuple(
        Policy(guardrail.name if number == 1 else f"{guardrail.name}-{number}", document)
        for number, document in enumerate(packed(numbered(denies(guardrail, partition)), POLICY_SIZE), start=1)
    )


def fewest_policies(guardrail: Guardrail, partition: str) -> int:
    """The number of policies that the lists of `guardrail` need at least. The compiler may need more.

    However the compiler divides a list, each of its patterns is in one statement of each access path at least.
    """
    characters = 0
    for rule in (guardrail.bedrock, guardrail.jumpstart):
        if rule and rule.patterns:
            model = "a.m*"
            sizes, places = [], 0
            for patterns in ((model,), (model, "a.n*")):
                few = rule._replace(patterns=patterns)
                alone = Guardrail("", few) if isinstance(few, BedrockRule) else Guardrail("", None, few)
                statements = denies(alone._replace(routes=guardrail.routes), partition)
                sizes.append(sum(map(size, statements)))
                places = json.dumps(statements).count(model)
            around = sizes[1] - sizes[0] - places * len(model)
            characters += sum(around + places * len(pattern) for pattern in fewest(rule.patterns))
    return -(-characters // POLICY_SIZE)


def denies(guardrail: Guardrail, partition: str) -> list[Statement]:
    """The statements of a guardrail. Each fits a policy. Several may have the same Sid.

    Raises TooLong as `compile_guardrail` does.
    """
    canvas = guardrail.routes is Routes.CANVAS
    families: dict[str, Iterator[Statement]] = {}
    if guardrail.bedrock:
        families["bedrock"] = _bedrock(guardrail.bedrock, canvas, partition)
    if guardrail.jumpstart:
        # A Bedrock part that allows every model leaves the endpoints of JumpStart models to the JumpStart part.
        has_endpoints = guardrail.bedrock is None or guardrail.bedrock.kind == "allow-all"
        families["jumpstart"] = _jumpstart(guardrail.jumpstart, canvas, partition, has_endpoints)
    if guardrail.assistants:
        families["assistants"] = _assistants(guardrail.assistants, canvas)
    if guardrail.pass_roles:
        families["pass_roles"] = _passing(guardrail.pass_roles, partition)
    if guardrail.api_keys is Allowance.DENY:
        families["api_keys"] = _api_keys()
    if guardrail.other_profiles is Allowance.DENY:
        families["other_profiles"] = _other_profiles(partition)
    if guardrail.shared_spaces is Allowance.DENY:
        families["shared_spaces"] = _shared_spaces()
    families["exempt_roles"] = _exempt_roles(guardrail.exempt_roles, partition)
    if guardrail.fixed_tags:
        families["tags"] = _fixed_tags(guardrail.trusted_taggers, partition)
    pieces: list[Statement] = []
    for family, statements in families.items():
        try:
            pieces += [piece for statement in statements for piece in pieces_of(_for_users(guardrail, statement))]
        except Indivisible:
            raise TooLong(("guardrails", guardrail.name, family)) from None
    return pieces


def _for_users(guardrail: Guardrail, statement: Statement) -> Statement:
    """A statement for the users of a shared role whom the guardrail concerns.

    SageMaker's names of user profiles are not case sensitive. The negated operator is also true for a session without a
    source identity, such as that of a job:
    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
    """
    for operator, users in zip(USER_OPERATORS, (guardrail.except_users, guardrail.only_users), strict=True):
        if users:
            condition = {**statement.get("Condition", {}), operator: {USER_KEY: shortest(users)}}
            statement = {**statement, "Condition": condition}
    return statement


def _fixed_tags(trusted: Sequence[str], partition: str) -> Iterator[Statement]:
    """The statement against changes of the tags by which assignments match.

    AmazonSageMakerCanvasFullAccess allows AddTags on each resource with `canvas` in its name.
    """
    arns = [f"arn:{partition}:sagemaker:*:*:{kind}/*" for kind in ("domain", "user-profile")]
    condition = {"ArnNotEquals": {"aws:PrincipalArn": shortest(trusted)}} if trusted else None
    yield _deny("FixedTags", SET_TAGS, resource=arns, condition=condition)


def _exempt_roles(roles: Iterable[ExemptRole], partition: str) -> Iterator[Statement]:
    """The statement against the use of exempt roles; none without an exemption.

    A role's ARN contains its path, which guardrails.yaml does not have. The condition key iam:PassedToService is not
    used, because a deny for some services would leave the others open.
    """
    arns = [
        f"arn:{partition}:iam::{role.account or '*'}:role/{place}{role.role}" for role in roles for place in ("", "*/")
    ]
    if arns:
        yield _deny("ExemptRoles", USE_ROLE, resource=arns)


def _bedrock(rule: BedrockRule, canvas: bool, partition: str) -> Iterator[Statement]:
    use = (*(CANVAS_USE if canvas else INVOKE), *_jobs(rule, canvas))
    customize = CANVAS_CUSTOMIZE if canvas else CUSTOMIZE
    customized = rule.customization is Allowance.ALLOW
    named = (*use, *(CUSTOMIZE_NAMED_BY_CANVAS if canvas else CUSTOMIZE_NAMED)) if customized else use
    complete = rule.kind == "deny-all" and not rule.allow_arns and not canvas
    models, patterns = _ModelPatterns(partition, rule.profiles), fewest(rule.patterns)
    batches = [f"arn:{partition}:bedrock:*:*:{kind}/*" for kind in (BATCHES if BATCH[0] in use else ())]
    harmless = [*_apart(rule, canvas, partition), *batches, *_unnamed(rule, partition), *rule.allow_arns]
    if rule.kind == "deny":
        yield _deny("BedrockListedModels", named, resource=models.denied(patterns))
    hides = not customized or bool(rule.profiles)
    if rule.kind == "deny" or (rule.kind == "allow-all" and hides and not rule.only_through):
        yield _deny("BedrockUnnamedModels", use, not_resource=[*models.all(), *harmless])
    elif rule.kind == "allow":
        yield from allowing(
            patterns,
            lambda part: _deny("BedrockUnlistedModels", named, not_resource=[*models.allowed(part), *harmless]),
        )
    elif rule.kind == "deny-all" and rule.allow_arns:
        yield _deny("BedrockModels", use, not_resource=harmless)
    elif rule.kind == "deny-all" and canvas:
        yield _deny("BedrockModels", use)
    elif rule.kind == "deny-all":
        # Patterns of actions in one statement keep a guardrail against all generative AI within one policy.
        yield _deny("BedrockModels", (*USE_ANY_MODEL, *USE_ANY_MODEL_ON_MANTLE))
    yield from _places(rule, canvas, partition)
    yield from _callers(rule, canvas, partition)
    if not (canvas or complete):
        yield from _mantle(rule, patterns)
        yield from _handles(rule)
    if not (customized or complete):
        yield _deny("BedrockCustomization", customize if canvas else (*customize, *CUSTOMIZE_ON_MANTLE))
    if not canvas and rule.indirect is Allowance.DENY:
        indirect = [action for action in USE_INDIRECTLY if rule.rerank is Allowance.DENY or action not in RERANK]
        yield _deny("BedrockIndirect", (*indirect, *OTHER_PLATFORMS))
        if rule.kind == "deny-all":
            yield _passed("BedrockPassRole", PASSED_TO_BEDROCK)


def _apart(rule: BedrockRule, canvas: bool, partition: str) -> list[str]:
    """The ARN patterns of resources on which Bedrock authorizes a call in addition to its model."""
    tools = [f"arn:{partition}:bedrock::*:system-tool/*"] if canvas or rule.indirect is Allowance.ALLOW else []
    return [*(f"arn:{partition}:bedrock:*:*:{kind}/*" for kind in NO_MODELS), *tools]


def _unnamed(rule: BedrockRule, partition: str) -> list[str]:
    """The ARN patterns of models that stay usable although the ARN does not name the model."""
    kinds: list[str] = []
    if rule.customization is Allowance.ALLOW and not rule.only_through:
        kinds += CUSTOM_MODELS
    if rule.kind == "allow-all":
        kinds += GATEWAYS
        if rule.customization is Allowance.ALLOW:
            kinds.append(IMPORTED_MODEL)
        if not rule.profiles:
            kinds.append(APPLICATION_PROFILE)
    found = [f"arn:{partition}:bedrock:*:*:{kind}/*" for kind in kinds]
    if rule.kind == "allow-all":
        # Bedrock also authorizes a call to a marketplace endpoint on the endpoint of SageMaker.
        found.append(f"arn:{partition}:sagemaker:*:*:endpoint/*")
    return [*found, *rule.only_through]


def _places(rule: BedrockRule, canvas: bool, partition: str) -> Iterator[Statement]:
    """The denies of models in other places: through profiles of other geographies, and in other regions.

    For a call through an inference profile, AWS also authorizes the models in all regions of the profile, each with its
    region as aws:RequestedRegion; for a global profile that value is `unspecified`, and the ARN of the model has no
    region. bedrock:InferenceProfileArn is the ARN of the called profile (Amazon Bedrock User Guide, "Geographic
    cross-Region inference" and "Global cross-Region inference").
    """
    invoke = CANVAS_USE if canvas else INVOKE
    models = _ModelPatterns(partition, rule.profiles)
    if rule.profiles:
        usable = [*models.geographic, *(arn for arn in rule.allow_arns if f":{APPLICATION_PROFILE}/" in arn)]
        yield _deny(
            "BedrockProfiles",
            invoke,
            resource=(f"{models.regional}*", f"{models.no_region}*"),
            condition={"Null": {PROFILE_KEY: "false"}, "ArnNotLike": {PROFILE_KEY: usable}},
        )
        if "global" not in rule.profiles and not rule.regions:  # `unspecified` is none of the regions.
            use = (*invoke, *_jobs(rule, canvas))
            yield _deny("BedrockGlobalProfiles", use, resource=(f"{models.no_region}*",))
    if not rule.regions:
        return
    elsewhere = {"StringNotLike": {REGION_KEY: list(rule.regions)}}
    others = _without_a_profile(rule, canvas)
    if rule.profiles:
        # The region in the ARN of a profile is the region of the caller.
        arns = [models.profile(region, place) for region in rule.regions for place in rule.profiles]
        yield _deny("BedrockRegions", invoke, condition={**elsewhere, "ArnNotLike": {PROFILE_KEY: arns}})
        if others:
            yield _deny("BedrockOtherRegions", others, condition=elsewhere)
    else:
        yield _deny("BedrockRegions", (*invoke, *others), condition=elsewhere)


def _jobs(rule: BedrockRule, canvas: bool) -> list[str]:
    """The actions that create a job with a model, except those that BedrockOtherCalls or BedrockBatch denies."""
    if canvas or rule.only_through or rule.require_bedrock_guardrail:
        return []
    return [action for action in JOBS if rule.batch is Allowance.ALLOW or action not in BATCH]


def _without_a_profile(rule: BedrockRule, canvas: bool) -> list[str]:
    """The actions on models that stay usable, and whose requests have no inference profile in a condition key."""
    found = _jobs(rule, canvas)
    if not (canvas or rule.only_through or rule.require_bedrock_guardrail):
        found += INFER_ON_MANTLE
    if rule.customization is Allowance.ALLOW:
        found += CANVAS_CUSTOMIZE if canvas else (*CUSTOMIZE, *CUSTOMIZE_ON_MANTLE)
    if not canvas and rule.indirect is Allowance.ALLOW:
        found += (*USE_INDIRECTLY, *OTHER_PLATFORMS)
    elif not canvas and rule.rerank is Allowance.ALLOW:
        found += RERANK
    return found


def _callers(rule: BedrockRule, canvas: bool, partition: str) -> Iterator[Statement]:
    """The denies of calls that lack an application inference profile or an Amazon Bedrock Guardrail, and of batches.

    A negated condition is also true for a request without the key.
    """
    invoke = CANVAS_USE if canvas else INVOKE
    apart = _apart(rule, canvas, partition)
    if rule.only_through:
        # AWS authorizes the call on the application profile, on the profile of AWS behind it, and on the models.
        yield _deny(
            "BedrockOnlyThrough",
            invoke,
            not_resource=[*rule.only_through, *rule.allow_arns, *apart],
            condition={"ArnNotLike": {PROFILE_KEY: list(rule.only_through)}},
        )
    if rule.require_bedrock_guardrail:
        # The models behind a profile decide, so that nothing depends on the keys of a request on the profile itself.
        profiles = [f"arn:{partition}:bedrock:*:*:{kind}/*" for kind in (APPLICATION_PROFILE, "inference-profile")]
        versions = [form for arn in rule.require_bedrock_guardrail for form in _versions(arn)]
        yield _deny(
            "BedrockGuardrailRequired",
            invoke,
            not_resource=[*profiles, *apart],
            condition={"StringNotLike": {BEDROCK_GUARDRAIL_KEY: versions}},
        )
    if canvas:
        return
    if rule.only_through or rule.require_bedrock_guardrail:
        yield _deny("BedrockOtherCalls", (*JOBS, *INFER_ON_MANTLE))
    elif rule.batch is Allowance.DENY:
        yield _deny("BedrockBatch", BATCH)


def _versions(guardrail: str) -> tuple[str, ...]:
    """The values of bedrock:GuardrailIdentifier for the ARN of an Amazon Bedrock Guardrail.

    The value is the ARN, followed by a colon and the version unless this is the draft (Amazon Bedrock User Guide,
    "Enforce the use of specific guardrails in model inference requests").
    """
    has_version = guardrail.rpartition("guardrail/")[2].count(":")
    return (guardrail,) if has_version else (guardrail, f"{guardrail}:*")


def _handles(rule: BedrockRule) -> Iterator[Statement]:
    """The denies of new resources that would stand for a model."""
    customized = rule.customization is Allowance.ALLOW
    if rule.kind != "allow-all":
        handles = [*RENAME_MODEL, *(RENAME_CUSTOMIZED if customized else ())]
    else:
        handles = [*(() if customized else IMPORT), *(WRAP if rule.profiles or rule.only_through else ())]
    if handles:
        yield _deny("BedrockModelHandles", handles)


def _api_keys() -> Iterator[Statement]:
    yield _deny("ApiKeys", USE_API_KEY)
    condition = {"StringLike": {"iam:ServiceSpecificCredentialServiceName": list(API_KEY_SERVICES)}}
    yield _deny("ApiKeyCreation", CREATE_API_KEY, condition=condition)


def _passed(sid: str, services: Sequence[str], *, not_resource: Sequence[str] = ()) -> Statement:
    """The deny of passing a role to `services`, except for the ARN patterns `not_resource`."""
    condition = {"StringLike": {"iam:PassedToService": shortest(services)}}
    return _deny(sid, ("iam:PassRole",), not_resource=not_resource, condition=condition)


def _passing(roles: Sequence[str], partition: str) -> Iterator[Statement]:
    """The deny of passing any role but `roles`. A role can have a path, which its name does not show."""
    arns = [f"arn:{partition}:iam::*:role/{path}{role}" for role in fewest(roles) for path in ("", "*/")]
    yield _passed("PassRoleToService", PASSED_TO, not_resource=arns)


def _other_profiles(partition: str) -> Iterator[Statement]:
    """The denies of work as another user profile.

    In a session of an application, SageMaker sets the keys for the domain and the user profile (see OWN_PROFILE). A
    session without them has no user profile of its own, so each of these calls is denied.
    """
    profile = f"arn:{partition}:sagemaker:*:*:user-profile/{OWN_PROFILE}"
    yield _deny("OtherProfilesUrls", ("sagemaker:CreatePresignedDomainUrl",), not_resource=(profile,))
    # An application of a user profile has no owner, and its ARN has the name of the user profile.
    apps = f"arn:{partition}:sagemaker:*:*:app/{OWN_PROFILE}/*"
    of_profile = {"Null": {SPACE_OWNER: "true"}}
    yield _deny("OtherProfilesApps", ("sagemaker:CreateApp",), not_resource=(apps,), condition=of_profile)
    # A shared space runs as a role of the domain and not as its owner, so `shared_spaces` decides about it.
    others = {
        "Null": {SPACE_OWNER: "false"},
        "ArnNotLike": {SPACE_OWNER: profile},
        "StringNotEquals": {SPACE_SHARING: "Shared"},
    }
    yield _deny("OtherProfilesSpaces", USE_SPACES, condition=others)
    tagged = {"ArnNotLike": {SPACE_PROFILE_TAG: profile}}
    yield _deny("OtherProfilesSessions", ("sagemaker:StartSession",), condition=tagged)


def _shared_spaces() -> Iterator[Statement]:
    """The denies of work in shared spaces. Without a sharing type, CreateSpace makes a shared space."""
    yield _deny("SharedSpaces", USE_SPACES, condition={"StringEquals": {SPACE_SHARING: "Shared"}})
    yield _deny("SharedSpacesUnnamed", ("sagemaker:CreateSpace",), condition={"Null": {SPACE_SHARING: "true"}})


def _assistants(_rule: AssistantsRule, canvas: bool) -> Iterator[Statement]:
    yield _deny("Assistants", CANVAS_ASSISTANTS if canvas else ASSISTANTS)


class _ModelPatterns:
    """The ARNs on which Bedrock authorizes calls of models whose IDs match some patterns.

    Bedrock authorizes an on-demand call on `foundation-model/<id>` of the called region. For a global inference profile
    that ARN has no region. Bedrock also authorizes a call through an inference profile on the profile itself. The ID of
    a profile is the name of a geography followed by the model's ID (Amazon Bedrock User Guide, "Prerequisites for
    inference profiles").
    """

    def __init__(self, partition: str, geographies: Sequence[str] = ()) -> None:
        self.partition = partition
        self.regional = f"arn:{partition}:bedrock:*::foundation-model/"
        self.no_region = f"arn:{partition}:bedrock:::foundation-model/"
        self.geographies = geographies

    def profile(self, region: str = "*", geography: str = "") -> str:
        """The ARN pattern of all profiles of AWS for callers in `region`, of one geography if given."""
        ids = f"{geography}.*" if geography else "*"
        return f"arn:{self.partition}:bedrock:{region}:*:inference-profile/{ids}"

    @property
    def geographic(self) -> list[str]:
        """The ARN patterns of the usable profiles."""
        return [self.profile(geography=one) for one in self.geographies] or [self.profile()]

    @property
    def forms(self) -> list[str]:
        """The beginnings of the ARNs of models: in a region, and without a region for a global profile."""
        is_global = not self.geographies or "global" in self.geographies
        return [self.regional, *([self.no_region] if is_global else [])]

    def all(self) -> list[str]:
        """The ARN patterns of all models."""
        return [*(f"{form}*" for form in self.forms), *self.geographic]

    def denied(self, patterns: Iterable[str]) -> list[str]:
        """The ARN patterns of models that a statement denies: as wide as possible."""
        return [
            arn
            for pattern in patterns
            for arn in (self.regional + pattern, self.no_region + pattern, f"{self.profile()}{pattern}")
        ]

    def allowed(self, patterns: Iterable[str]) -> list[str]:
        """The ARN patterns of models that are an exception from a deny: as narrow as possible."""
        profiles = self.geographic if self.geographies else [f"{self.profile()}.*"]
        ends = [arn.removesuffix("*") for arn in profiles]
        return [arn + pattern for pattern in patterns for arn in (*self.forms, *ends)]


def _mantle(rule: BedrockRule, patterns: Sequence[str]) -> Iterator[Statement]:
    actions = ["bedrock-mantle:CreateFineTuningJob"] if rule.customization is Allowance.ALLOW else []
    if not (rule.only_through or rule.require_bedrock_guardrail):  # With these, BedrockOtherCalls denies all inference.
        actions += INFER_ON_MANTLE
    if not actions:
        return
    if rule.kind == "deny-all":
        yield _deny("BedrockMantle", ("bedrock-mantle:CallWithBearerToken", *actions))
    elif rule.kind != "allow":
        # The value of the key is a model ID. The `*` before it also matches an ARN that ends with the ID.
        listed = [f"*{pattern}" for pattern in patterns]
        if rule.customization is Allowance.DENY:
            listed.append("*:customized-model/*")
        if rule.profiles:
            others = [place for place in GEOGRAPHIES if place not in rule.profiles]
            listed += [f"{before}{place}.*" for place in others for before in ("", "*/")]
        if listed:
            condition = {"StringLike": {MANTLE_KEY: listed}}
            yield _deny("BedrockMantleListedModels", actions, condition=condition)
        if rule.kind == "deny":
            # A request without the key does not show its model, which can be one of the list.
            yield _deny("BedrockMantleUnnamedModels", actions, condition={"Null": {MANTLE_KEY: "true"}})
    else:
        # The ID can be alone, follow a geography, or end an ARN.
        before = ["", "*.", "*/"]
        if rule.profiles:
            before = ["", "*/", *(f"{start}{place}." for place in rule.profiles for start in ("", "*/"))]
        yield from allowing(
            patterns,
            lambda part: _deny(
                "BedrockMantleUnlistedModels",
                actions,
                # The condition is also true if the request lacks the key, because the model is then unknown.
                condition={"StringNotLike": {MANTLE_KEY: [form + pattern for pattern in part for form in before]}},
            ),
        )


def _jumpstart(rule: JumpStartRule, canvas: bool, partition: str, has_endpoints: bool) -> Iterator[Statement]:
    patterns = fewest(rule.patterns)
    create = CANVAS_CREATE if canvas else CREATE
    if rule.kind != "allow-all":
        yield from _by_tags("JumpStartCreate", create, rule, patterns, "aws:RequestTag/")
    if not canvas:
        if rule.kind != "allow-all":
            yield from _by_tags("JumpStartUse", USE_TAGGED, rule, patterns, "aws:ResourceTag/")
            yield from _jumpstart_beyond_canvas(rule, patterns, partition, has_endpoints)
        if rule.kind == "deny-all" or rule.gated is Allowance.DENY:
            # A client cannot omit this key, because it is not a tag. It shows that a model is gated, but not which
            # model (SageMaker Developer Guide, "Access control for JumpStart gated models").
            yield _deny(
                "JumpStartGatedModels",
                ("sagemaker:CreateModel", "sagemaker:CreateTrainingJob"),
                condition={"Bool": {GATED_KEY: "true"}},
            )
        yield from _indirect(rule, partition)
    if rule.autopilot is Allowance.DENY:
        yield _deny("JumpStartAutopilot", ("sagemaker:CreateAutoMLJobV2",))
    if rule.weights is Allowance.DENY:
        # The key of an S3 object contains the ID of its model.
        keys = [f"*{pattern.strip('*')}*" for pattern in patterns] or ["*"]
        objects = [f"arn:{partition}:s3:::{bucket}/{key}" for bucket in WEIGHT_BUCKETS for key in keys]
        yield _deny("JumpStartWeights", ("s3:GetObject", "s3:GetObjectVersion"), resource=objects)


def _by_tags(
    sid: str, actions: Sequence[str], rule: JumpStartRule, patterns: Sequence[str], source: str
) -> Iterator[Statement]:
    """The denies by the tags that mark a JumpStart model. `source` is the beginning of the condition key.

    IAM combines the keys of one condition block with AND, and such a statement would apply only to a request with all
    of these tags. Therefore each tag has its own statement.
    """
    hubs = [f"*:hub-content/{hub}/*" for hub in rule.hubs]
    # The SDK and Studio mark a model of a private hub with the ARN of its entry there, too.
    others = {"StringNotLike": {f"{source}{tag}": hubs for tag in HUB_TAGS}} if hubs else {}
    for tag, name in zip(JUMPSTART_TAGS, ("Sdk", "Studio", "Short"), strict=True):
        yield from _tagged(f"{sid}{name}", actions, rule.kind, patterns, f"{source}{tag}", others)
    # The statement JumpStartTags denies removing these tags, and removing others changes nothing. With `deny: all`, no
    # value of these tags changes anything either.
    tagging = ("sagemaker:DeleteTags", *(("sagemaker:AddTags",) if rule.kind == "deny-all" and not rule.hubs else ()))
    kept = [action for action in actions if action not in tagging]
    for tag, name in zip(HUB_TAGS, ("HubSdk", "HubStudio"), strict=True):
        key = f"{source}{tag}"
        other = {"StringNotLike": {key: hubs}} if hubs else {}
        yield from _tagged(f"{sid}{name}", kept, rule.kind, patterns, key, other, _entries(rule.kind))
    if rule.kind == "deny-all":
        yield from _tagged(f"{sid}Marked", kept, rule.kind, (), f"{source}{MARK_TAG}", others)
    else:
        # This tag shows a model of JumpStart, and no other tag shows which.
        named = {f"{source}{tag}": "true" for tag in (*JUMPSTART_TAGS, *HUB_TAGS)}
        yield _deny(f"{sid}Unnamed", kept, condition={"Null": {f"{source}{MARK_TAG}": "false", **named}})


def _jumpstart_beyond_canvas(
    rule: JumpStartRule, patterns: Sequence[str], partition: str, has_endpoints: bool
) -> Iterator[Statement]:
    if rule.kind == "deny-all":
        keys = TAG_KEYS if rule.hubs else (*OTHER_TAG_KEYS, *TAG_KEYS)
        actions = ("sagemaker:DeleteTags",) if rule.hubs else (*CREATE, "sagemaker:DeleteTags")
        yield _deny("JumpStartTags", actions, condition={"ForAnyValue:StringLike": {"aws:TagKeys": list(keys)}})
    else:
        condition = {"ForAnyValue:StringLike": {"aws:TagKeys": list(TAG_KEYS)}}
        yield _deny("JumpStartTags", ("sagemaker:DeleteTags",), condition=condition)
    yield from _hub(rule, patterns, partition)
    if has_endpoints:
        yield _deny("JumpStartThroughBedrock", THROUGH_BEDROCK)
        endpoints = [
            f"arn:{partition}:bedrock:*:*:marketplace/model-endpoint/*",
            f"arn:{partition}:sagemaker:*:*:endpoint/*",
        ]
        yield _deny("JumpStartMarketplaceEndpoints", ("bedrock:InvokeModel*",), resource=endpoints)


def _hub(rule: JumpStartRule, patterns: Sequence[str], partition: str) -> Iterator[Statement]:
    """The denies of models in hubs."""
    hubs = f"arn:{partition}:sagemaker:*:*:hub/"
    if rule.kind == "deny":
        yield _deny("JumpStartHubListedModels", USE_HUB, resource=_contents(patterns, partition))
    elif rule.kind == "allow":
        # SageMaker also authorizes these calls on the hub, whose ARN does not name the model.
        yield from allowing(
            patterns,
            lambda part: _deny(
                "JumpStartHubUnlistedModels", USE_HUB, not_resource=[*_contents(part, partition), f"{hubs}*"]
            ),
        )
    else:
        contents = f"arn:{partition}:sagemaker:*:*:hub-content/"
        own = [arn for hub in rule.hubs for arn in (f"{hubs}{hub}", f"{contents}{hub}/*/*")]
        yield _deny("JumpStartHub", USE_HUB, not_resource=own)


def _indirect(rule: JumpStartRule, partition: str) -> Iterator[Statement]:
    """The denies of access paths that do not show which model they lead to."""
    actions = [] if rule.kind == "allow-all" else [*RENAME_IN_HUB]
    if rule.indirect is Allowance.DENY:
        actions += USE_HOSTED_INDIRECTLY
    if rule.customization is Allowance.DENY:
        actions += CUSTOMIZE_SERVERLESS
        if rule.data_jobs is Allowance.DENY:
            actions.append(CREATE_JOB)
        else:
            jobs = [f"arn:{partition}:sagemaker:*:*:job/{category}/*" for category in DATA_JOBS]
            yield _deny("JumpStartCustomizationJobs", (CREATE_JOB,), not_resource=jobs)
    if actions:
        yield _deny("JumpStartIndirect", sorted(actions))


def _endings(pattern: str) -> tuple[str, ...]:
    """The endings of the ARN of an entry in a hub, with and without a version after the name."""
    return (pattern,) if pattern.endswith("*") else (pattern, f"{pattern}/*")


def _contents(patterns: Iterable[str], partition: str) -> list[str]:
    """The ARN patterns of the models' entries in any hub."""
    return [
        f"arn:{partition}:sagemaker:*:*:hub-content/*/*/{ending}"
        for pattern in patterns
        for ending in _endings(pattern)
    ]


def _entries(kind: RuleKind) -> Callable[[str], tuple[str, ...]]:
    """The patterns of a tag with the ARN of an entry in a hub, for a pattern of models.

    A deny list matches as much as possible, and an allow list as little as possible.
    """
    before = "*/" if kind == "deny" else "*:hub-content/*/*/"
    return lambda pattern: tuple(f"{before}{ending}" for ending in _endings(pattern))


def _as_it_is(pattern: str) -> tuple[str, ...]:
    return (pattern,)


def _tagged(
    sid: str,
    actions: Sequence[str],
    kind: RuleKind,
    patterns: Sequence[str],
    key: str,
    others: Document,
    values: Callable[[str], tuple[str, ...]] = _as_it_is,
) -> Iterator[Statement]:
    """The denies by one tag.

    - `others`: a further condition of `deny: all`.
    - `values`: the patterns of the tag's value for a pattern of models.
    """
    present = {"Null": {key: "false"}}

    def listed(part: Sequence[str]) -> list[str]:
        return [value for pattern in part for value in values(pattern)]

    if kind == "deny-all":
        yield _deny(sid, actions, condition={**present, **others})
    elif kind == "deny":
        yield _deny(sid, actions, condition={"StringLike": {key: listed(patterns)}})
    else:
        # Without the Null condition, StringNotLike is also true if the tag is absent, and would deny every endpoint of
        # classic ML.
        yield from allowing(
            patterns, lambda part: _deny(sid, actions, condition={**present, "StringNotLike": {key: listed(part)}})
        )


def _deny(
    sid: str,
    actions: Sequence[str],
    *,
    resource: Sequence[str] = ("*",),
    not_resource: Sequence[str] = (),
    condition: Document | None = None,
) -> Statement:
    statement: Statement = {"Sid": sid, "Effect": "Deny", "Action": shortest(actions)}
    if not_resource:
        statement["NotResource"] = shortest(not_resource)
    else:
        statement["Resource"] = shortest(resource)
    if condition:
        statement["Condition"] = condition
    return statement
