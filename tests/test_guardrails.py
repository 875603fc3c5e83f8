"""guardrails.yaml: each mistake is one line with its place and a solution, and only a file without errors has rules."""

from __future__ import annotations

import errno
import fnmatch
import json
import re
import time
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rolewarden.errors import RulesError
from rolewarden.guardrails import (
    Allowance,
    AlsoGovern,
    Assignment,
    AssistantsRule,
    BedrockRule,
    Exemption,
    ExemptRole,
    Fallback,
    Guardrail,
    JumpStartRule,
    Mode,
    Rules,
    Subject,
    SurplusPolicies,
)
from rolewarden.guardrails_file import FileReading, load, read, read_document, read_json
from rolewarden.matching import matches

from tests.guardrail_files import (
    EVERYONE,
    GUARDRAIL,
    GUARDRAILS,
    SOUND,
    TODAY,
    WAY_OUT,
    also_govern,
    assignment,
    bedrock,
    exemption,
    guardrail,
    jumpstart,
    names,
    one_line,
    yaml,
)

# The whole file, or one of its sections.
SECTIONS = [
    ("", 1, "", "is empty: write `guardrails:` and `assignments:`"),
    ("# nothing but\n# comments\n", 1, "", "is empty: write `guardrails:`"),
    ("null\n", 1, "", "is empty: write `guardrails:`"),
    ("---\n...\n", 2, "", "is empty: write `guardrails:`"),
    ("# rules\n- guardrails\n", 2, "", "must be a mapping with `also_govern`, `assignments`, `exemptions`"),
    ("no models\n", 1, "", "must be a mapping with `also_govern`"),
    (SOUND + "guard: {}\n", 5, "guard", "unknown key: write one of `also_govern`, `assignments`, `exemptions`"),
    (SOUND + "exemption: []\n", 5, "exemption", "unknown key: did you mean `exemptions`?"),
    ("guardrail:\n  a: {bedrock: {deny: all}}\n" + EVERYONE, 1, "guardrail", "did you mean `guardrails`?"),
    (GUARDRAIL + "asignments:\n  - guardrails: [a]\n", 3, "asignments", "did you mean `assignments`?"),
    (SOUND + '"": x\n', 5, '""', "unknown key: write one of"),
    (
        EVERYONE,
        1,
        "guardrails",
        "is missing: add at least one guardrail, for example `no-bedrock: {bedrock: {deny: all}}`",
    ),
    ("# rules\n\n" + EVERYONE, 3, "guardrails", "is missing: add at least one guardrail"),
    ("guardrails:\n" + EVERYONE, 1, "guardrails", "is empty: indent below it at least one guardrail"),
    (
        "guardrails:\na:\n  bedrock: {deny: all}\n" + EVERYONE,
        1,
        "guardrails",
        "is empty: indent `a` if it belongs below it",
    ),
    ("guardrails: {}\n" + EVERYONE, 1, "guardrails", "is empty: indent below it at least one guardrail"),
    ("guardrails: [a]\n" + EVERYONE, 1, "guardrails", "must be a mapping of names to denied models"),
    ("guardrails: all\n" + EVERYONE, 1, "guardrails", "must be a mapping of names to denied models"),
    ("mode: on\n" + SOUND, 1, "mode", "`on` is not understood: write `enforce` or `observe`"),
    ("mode: [enforce]\n" + SOUND, 1, "mode", "is not understood: write `enforce` or `observe`"),
    (SOUND + "exemptions: {role: X}\n", 5, "exemptions", "must be a list: write each entry on its own line after `- `"),
    (SOUND + "exemptions: X\n", 5, "exemptions", "must be a list: write each entry on its own line after `- `"),
]

NAMES = [
    (names("1a"), 2, "guardrails.1a", "is not a valid name for a guardrail: start with a letter"),
    (names("12345"), 2, "guardrails.12345", "is not a valid name for a guardrail: start with a letter"),
    (names("no models"), 2, "guardrails.no models", "then use letters, digits, - and _"),
    (names("über"), 2, "guardrails.über", "then use letters, digits, - and _"),
    (names('"a\\nb"'), 2, r"guardrails.a\nb", "then use letters, digits, - and _"),
    (names('""').replace('[""]', "[]"), 2, 'guardrails.""', "is not a valid name for a guardrail: start with a letter"),
    (names("a" * 101), 2, f"guardrails.{'a' * 101}", "100 characters at most (it becomes the name of an IAM policy)"),
    (
        names("no-llm", "No-LLM"),
        3,
        "guardrails.No-LLM",
        "the same name as `no-llm` for IAM: rename one of them",
    ),
    (
        names("a", "a-2"),
        3,
        "guardrails.a-2",
        "`a-<number>` is reserved for further policies of `a`: rename it, for example to `a-b`",
    ),
    (names("a-17", "a"), 2, "guardrails.a-17", "`a-<number>` is reserved for further policies of `a`: rename it"),
    (names("Strict", "strict-3"), 3, "guardrails.strict-3", "`Strict-<number>` is reserved for further policies"),
]

EVERY_SHAPE_OF_A_RULE = "is empty: write `{deny: all}`, `{deny: [model, ...]}` or `{allow: [model, ...]}`"
BODY_KEYS = "must be a mapping with `api_keys`, `assistants`, `bedrock`, `jumpstart`, `mode`"
BODIES = [
    (guardrail(""), 2, "guardrails.a", BODY_KEYS),
    (guardrail("\n  bedrock: {deny: all}"), 2, "guardrails.a", "is empty: indent `bedrock` if it belongs below it"),
    (guardrail("\n  jumpstart: {deny: all}"), 2, "guardrails.a", "is empty: indent `jumpstart` if it belongs below it"),
    (guardrail("all"), 2, "guardrails.a", BODY_KEYS),
    (guardrail("[bedrock]"), 2, "guardrails.a", BODY_KEYS),
    (guardrail("{}"), 2, "guardrails.a", "denies nothing: add `bedrock: {deny: all}`, `jumpstart: {deny: all}` or"),
    (guardrail("{mode: observe}"), 2, "guardrails.a", "denies nothing: add `bedrock: {deny: all}`"),
    (guardrail("{bedrok: {deny: all}}"), 2, "guardrails.a.bedrok", "unknown key: did you mean `bedrock`?"),
    (
        guardrail("{sagemaker: {deny: all}}"),
        2,
        "guardrails.a.sagemaker",
        "write one of `api_keys`, `assistants`, `bedrock`, `jumpstart`, `mode`",
    ),
    (
        guardrail("{bedrock: {deny: all}, mode: Observe}"),
        2,
        "guardrails.a.mode",
        "`Observe` is not understood: write `observe`",
    ),
    (guardrail("{bedrock: }"), 2, "guardrails.a.bedrock", EVERY_SHAPE_OF_A_RULE),
    (guardrail("{jumpstart: {}}"), 2, "guardrails.a.jumpstart", EVERY_SHAPE_OF_A_RULE),
    (guardrail("\n    bedrock: deny"), 3, "guardrails.a.bedrock", "must be a mapping with `allow`, `allow_arns`"),
    (guardrail("\n    bedrock: [deny]"), 3, "guardrails.a.bedrock", "must be a mapping with `allow`, `allow_arns`"),
    (guardrail("{bedrock: {dney: all}}"), 2, "guardrails.a.bedrock.dney", "unknown key: did you mean `deny`?"),
    (
        guardrail("\n    jumpstart: {deny: all}\n    bedrock:\n      deny: all\n      allow: [anthropic.claude-v2*]"),
        4,
        "guardrails.a.bedrock",
        "has both `deny` and `allow`: keep one (an allow list already denies everything else)",
    ),
]

NO_MODEL = "names no model: write `deny: all` to deny every model"
ALLOWS_ALL = "allows every model, so the other entries have no effect: remove them"
LISTS = [
    (guardrail("{bedrock: {deny: []}}"), 2, "guardrails.a.bedrock.deny", "is empty: write a list of model IDs"),
    (guardrail("{bedrock: {allow: []}}"), 2, "guardrails.a.bedrock.allow", "is empty: write a list of model IDs"),
    (guardrail("{bedrock: {deny: }}"), 2, "guardrails.a.bedrock.deny",
     "a list of model IDs, for example `[model, ...]`, or `all`"),
    (guardrail("{bedrock: {deny: {all: }}}"), 2, "guardrails.a.bedrock.deny", "must be a list of model IDs"),
    (guardrail("{jumpstart: {allow: x-1}}"), 2, "guardrails.a.jumpstart.allow", "must be a list of model IDs"),
    (jumpstart("x, ''"), 2, "guardrails.a.jumpstart.deny[2]", "must be one text"),
    (guardrail("{jumpstart: {deny: [[x]]}}"), 2, "guardrails.a.jumpstart.deny[1]", "must be one text"),
    (guardrail("{jumpstart: {deny: [x, ~]}}"), 2, "guardrails.a.jumpstart.deny[2]", "must be one text"),
    (jumpstart('x, "y "'), 2, "guardrails.a.jumpstart.deny[2]", "`y ` begins or ends with a space: write `y`"),
    (bedrock('" meta.x"'), 2, "guardrails.a.bedrock.deny[1]", "` meta.x` begins or ends with a space: write `meta.x*`"),
    (jumpstart('"y\\u00a0"'), 2, "guardrails.a.jumpstart.deny[1]", r"`y\xa0` begins or ends with a space: write `y`"),
    (guardrail("{bedrock: {deny: ALL}}"), 2, "guardrails.a.bedrock.deny", f"`ALL` {NO_MODEL}"),
    (guardrail("{bedrock: {deny: '*'}}"), 2, "guardrails.a.bedrock.deny", f"`*` {NO_MODEL}"),
    (guardrail("{bedrock: {allow: [meta.x, all]}}"), 2, "guardrails.a.bedrock.allow[2]", f"`all` {ALLOWS_ALL}"),
    (guardrail("{jumpstart: {allow: [x, '**']}}"), 2, "guardrails.a.jumpstart.allow[2]", f"`**` {ALLOWS_ALL}"),
    *((bedrock(f'meta.x, "{p}"'), 2, "guardrails.a.bedrock.deny[2]", f"`{p}` {NO_MODEL}") for p in
      ("*", "**", "?", "?*", "*.*", "*?.?*", "all")),
    *((jumpstart(f'"{p}"'), 2, "guardrails.a.jumpstart.deny[1]", f"`{p}` {NO_MODEL}") for p in ("*", "*?*", "All")),
]  # fmt: skip

MODELS = [
    *((bedrock(given), 2, "guardrails.a.bedrock.deny[1]", f"`{given}` has no provider, so it would match no model: "
       f"write `{wanted}`") for given, wanted in (
        ("claude-v2", "anthropic.claude-v2*"),
        ("Claude-*", "anthropic.claude-*"),
        ("j2-mid-v1", "ai21.j2-mid-v1*"),
        ("jamba-1-5-mini", "ai21.jamba-1-5-mini*"),
        ("titan-text-premier-v1:*", "amazon.titan-text-premier-v1:*"),
        ("nova-*", "amazon.nova-*"),
        ("command-text-*", "cohere.command-text-*"),
        ("embed-english-v3", "cohere.embed-english-v3*"),
        ("llama2-13b-chat-v1", "meta.llama2-13b-chat-v1*"),
        ("mixtral-8x7b", "mistral.mixtral-8x7b*"),
        ("mistral-7b", "mistral.mistral-7b*"),
        ("deepseek-r1", "deepseek.deepseek-r1*"),
        ("stable-image-core", "stability.stable-image-core*"),
        ("titan", "amazon.titan*"),
        # The dot of a version number does not make the text before it a provider.
        ("claude-v2.1", "anthropic.claude-v2.1*"),
        ("llama3.1-70b*", "meta.llama3.1-70b*"),
    )),
    (bedrock("anthropic"), 2, "guardrails.a.bedrock.deny[1]",
     "`anthropic` is not a Bedrock model ID: write `anthropic.*`"),
    (bedrock("palmyra-x5"), 2, "guardrails.a.bedrock.deny[1]",
     "`palmyra-x5` has no provider, so it would match no model: write a model ID, for example `anthropic.claude-v2*`"),
    (bedrock("writer."), 2, "guardrails.a.bedrock.deny[1]",
     "`writer.` has no provider, so it would match no model: write a model ID, for example `anthropic.claude-v2*`"),
    (bedrock("arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-v2"), 2, "guardrails.a.bedrock.deny[1]",
     "is an ARN: write `anthropic.claude-v2*`"),
    (bedrock("Anthropic.Claude-V2*"), 2, "guardrails.a.bedrock.deny[1]",
     "`Anthropic.Claude-V2*` matches no model, because model IDs are lower case: write `anthropic.claude-v2*`"),
    (bedrock("anthropic.claude v2"), 2, "guardrails.a.bedrock.deny[1]",
     "`anthropic.claude v2` is not a Bedrock model ID: write `anthropic.claude-v2*`"),
    (bedrock("anthropic/claude.v2"), 2, "guardrails.a.bedrock.deny[1]", "is not a Bedrock model ID"),
    (bedrock('"“anthropic.claude-v2”"'), 2, "guardrails.a.bedrock.deny[1]",
     "`“anthropic.claude-v2”` has curly quotes: write `anthropic.claude-v2*`"),
    (bedrock(f"anthropic.{'x' * 300}"), 2, "guardrails.a.bedrock.deny[1]", "is not a Bedrock model ID"),
    *((bedrock(f'"{prefix}.anthropic.claude-*"'), 2, "guardrails.a.bedrock.deny[1]", f"`{prefix}.anthropic.claude-*` "
       "names an inference profile, which the pattern of its model covers, too: write `anthropic.claude-*`")
      for prefix in ("us", "us-gov", "eu", "apac", "global", "mx", "*")),
    (bedrock("us.writer.palmyra-x5*"), 2, "guardrails.a.bedrock.deny[1]", "write `writer.palmyra-x5*`"),
    (bedrock("us.*"), 2, "guardrails.a.bedrock.deny[1]",
     "`us.*` names an inference profile, which the pattern of its model covers, too: write a model ID, for example"),
    (bedrock("mx.meta.llama3.1-70b*"), 2, "guardrails.a.bedrock.deny[1]", "write `meta.llama3.1-70b*`"),
    (jumpstart("anthropic.claude-v2.1"), 2, "guardrails.a.jumpstart.deny[1]",
     "write `anthropic.claude-v2.1*` under `bedrock`"),
    (jumpstart("anthropic.claude-v2"), 2, "guardrails.a.jumpstart.deny[1]",
     "is a Bedrock model ID: write `anthropic.claude-v2*` under `bedrock`"),
    (jumpstart("huggingface llm"), 2, "guardrails.a.jumpstart.deny[1]",
     "`huggingface llm` is not a JumpStart model ID: write a model ID, for example `huggingface-llm-falcon-*`"),
    (jumpstart("arn:aws:sagemaker:us-east-1:aws:hub-content/x"), 2, "guardrails.a.jumpstart.deny[1]",
     "is an ARN that does not name a JumpStart model: write a model ID"),
    (jumpstart("y" * 257), 2, "guardrails.a.jumpstart.deny[1]", "is not a JumpStart model ID"),
    (guardrail("\n    bedrock:\n      deny:\n        - meta.llama3-*\n        - claude-v2"), 6,
     "guardrails.a.bedrock.deny[2]", "`claude-v2` has no provider"),
]  # fmt: skip

PROVISIONED = "arn:aws:bedrock:us-east-1:111122223333:provisioned-model/abc123"
ROUTER = "arn:aws:bedrock:us-east-1:111122223333:default-prompt-router/anthropic.claude:1"
PROFILE = "arn:aws:bedrock:us-east-1:111122223333:inference-profile/us.meta.llama3-3-70b-instruct-v1:0"
OPTIONS = [
    (SOUND + "surplus: never\n", 5, "surplus", "`never` is not understood: write `keep` or `detach`"),
    (SOUND + "fallback: bounds\n", 5, "fallback", "`bounds` is not understood: write `none` or `boundary`"),
    (SOUND + "surplus: [detach]\n", 5, "surplus", "is not understood: write `keep` or `detach`"),
    (guardrail("{bedrock: {deny: all}, routes: studio}"), 2, "guardrails.a.routes",
     "`studio` is not understood: write `all` or `canvas`"),
    (guardrail("{bedrock: {deny: all, indirect: off}}"), 2, "guardrails.a.bedrock.indirect",
     "`off` is not understood: write `deny` or `allow`"),
    *((guardrail(f"{{{family}: {{deny: all, {key}: off}}}}"), 2, f"guardrails.a.{family}.{key}",
       "`off` is not understood: write `deny` or `allow`")
      for family, key in (("bedrock", "customization"), ("jumpstart", "customization"), ("jumpstart", "autopilot"))),
    (guardrail("{jumpstart: {deny: [x], weights: [deny]}}"), 2, "guardrails.a.jumpstart.weights",
     "is not understood: write `deny` or `allow`"),
    (guardrail("{bedrock: {indirect: deny}}"), 2, "guardrails.a.bedrock", "names no models: add `{deny: all}`"),
    (guardrail("{jumpstart: {autopilot: deny}}"), 2, "guardrails.a.jumpstart", "names no models: add `{deny: all}`"),
    (guardrail("{bedrock: {deny: all, weights: deny}}"), 2, "guardrails.a.bedrock.weights", "unknown key"),
    (guardrail("{jumpstart: {deny: all, customisation: deny}}"), 2, "guardrails.a.jumpstart.customisation",
     "unknown key: did you mean `customization`?"),
    (guardrail("{bedrock: {deny: all, customization: allow}}"), 2, "guardrails.a.bedrock.customization",
     "`customization: allow` contradicts `deny: all`, which denies every use of a model"),
    (guardrail("{jumpstart: {deny: all, customization: allow}}"), 2, "guardrails.a.jumpstart.customization",
     "`customization: allow` contradicts `deny: all`"),
    (guardrail("{routes: canvas, bedrock: {deny: all, indirect: deny}}"), 2, "guardrails.a.bedrock.indirect",
     "`indirect: deny` contradicts `routes: canvas`, which closes only access paths that Canvas uses"),
    (guardrail("{routes: canvas, jumpstart: {deny: all, customization: deny}}"), 2,
     "guardrails.a.jumpstart.customization", "`customization: deny` contradicts `routes: canvas`"),
    (guardrail("{jumpstart: {allow: [x], weights: deny}}"), 2, "guardrails.a.jumpstart.weights",
     "`weights: deny` with `allow` would also deny the files of the allowed models"),
    (guardrail("{bedrock: {deny: all, allow_arns: []}}"), 2, "guardrails.a.bedrock.allow_arns",
     "is empty: write a list of ARNs"),
    (guardrail(f"{{bedrock: {{deny: all, allow_arns: {PROVISIONED}}}}}"), 2, "guardrails.a.bedrock.allow_arns",
     "must be a list of ARNs"),
    *((guardrail(f"{{bedrock: {{deny: all, allow_arns: ['{PROVISIONED}', '{arn}']}}}}"), 2,
       "guardrails.a.bedrock.allow_arns[2]", message) for arn, message in (
        (PROVISIONED.replace("abc", "*"), "has a wildcard, so the models that it leads to are unknown: list each ARN"),
        (PROVISIONED.replace("us-east-1", "?"),
     "has a wildcard, so the models that it leads to are unknown: list each ARN"),
        ("anthropic.claude-v2", "is not a supported model ARN: write it as `arn:aws:bedrock:us-east-1:"),
        (PROVISIONED.replace("111122223333", ""), "is not a supported model ARN"),
        ("arn:aws:sagemaker:us-east-1:111122223333:endpoint/e", "is not a supported model ARN"),
        (PROVISIONED.replace("provisioned-model", "project"), "is not a supported model ARN"),
        ("arn:aws:bedrock:us-east-1::foundation-model/meta.llama3-70b-instruct-v1:0",
         "names its model: write `meta.llama3-70b-instruct-v1:0` under `allow` instead of `deny: all`"),
        (PROFILE, "names its model: write `meta.llama3-3-70b-instruct-v1:0` under `allow`"),
        (ROUTER, "would still be denied, because AWS authorizes the call on its models, too: list the models"),
    )),
]  # fmt: skip

CATCH_ALL = "end with an assignment that matches every subject, for example `- guardrails: [name]` without conditions"
TEXT = "must be one text, in quotes if it is a number"
ASSIGNMENTS = [
    (GUARDRAIL, 1, "assignments", f"is missing: {CATCH_ALL}"),
    (GUARDRAIL + "assignments:\n", 3, "assignments", f"is empty: {CATCH_ALL}"),
    (GUARDRAIL + "assignments: []\n", 3, "assignments", f"is empty: {CATCH_ALL}"),
    (GUARDRAIL + "assignments: {guardrails: [a]}\n", 3, "assignments",
     "must be a list: write each entry on its own line"),
    (GUARDRAIL + "assignments: a\n", 3, "assignments", "must be a list: write each entry on its own line after `- `"),
    (GUARDRAIL + "assignments:\n  - {guardrails: [a], domains: [x]}\n", 4, "assignments[1]",
     f"is the last assignment and does not match every subject: {CATCH_ALL}"),
    (GUARDRAIL + "assignments:\n  - {guardrails: [a], tags: {a: b}}\n", 4, "assignments[1]",
     "does not match every subject"),
    (GUARDRAIL + "assignments:\n  - guardrails: [a]\n  - guardrails: [a]\n    domains: [x]\n  - guardrails: []\n", 5,
     "assignments[2]", "is never used, because assignment 1 matches every subject: move that one to the end"),
    (GUARDRAIL + "assignments:\n  - guardrails: [a]\n  - {guardrails: [a], domains: [x]}\n", 5, "assignments[2]",
     "is never used, because assignment 1 matches every subject: move that one to the end"),
    (assignment("a"), 4, "assignments[1]",
     "must be a mapping with `accounts`, `domains`, `guardrails`, `principals`, `roles`"),
    (assignment(""), 4, "assignments[1]",
     "must be a mapping with `accounts`, `domains`, `guardrails`, `principals`, `roles`"),
    (assignment("{guardrails: [a], domain: [x]}"), 4, "assignments[1].domain", "unknown key: did you mean `domains`?"),
    (GUARDRAIL + "assignments:\n  - {guardrails: [a], why: x}\n", 4, "assignments[1].why",
     "unknown key: write one of `accounts`"),
    (assignment("{domains: [x]}"), 4, "assignments[1].guardrails",
     "is missing: name the guardrails of these subjects, for example `guardrails: [no-bedrock]`"),
    (assignment("{domains: [x], guardrail: [a]}"), 4, "assignments[1].guardrail", "did you mean `guardrails`?"),
    (assignment("{domains: [x], guardrails: a}"), 4, "assignments[1].guardrails",
     "must be a list of guardrails, for example `[no-generative-ai]`, or `[]` if none applies"),
    (assignment("{domains: [x], guardrails: }"), 4, "assignments[1].guardrails", "must be a list of guardrails"),
    (assignment("{domains: [x], guardrails: [a, [b]]}"), 4, "assignments[1].guardrails[2]", f"{TEXT}: write a list of"),
    (assignment("{domains: [x], guardrails: ['a ']}"), 4, "assignments[1].guardrails[1]", "with a space: write `a`"),
    (names("strict", "lax").replace("lax]", "strikt]"), 5, "assignments[1].guardrails[2]",
     "no guardrail has the name `strikt`: did you mean `strict`?"),
    (names("strict", "lax").replace("lax]", "zzz]"), 5, "assignments[1].guardrails[2]",
     "no guardrail has the name `zzz`: write one of: strict, lax"),
    (names("strict").replace("[strict]", "[Strict]"), 4, "assignments[1].guardrails[1]", "did you mean `strict`?"),
    *((assignment(f"{{guardrails: [a], {key}: []}}"), 4, f"assignments[1].{key}", f"is empty: write {what}")
      for key, what in (
          ("accounts", 'a list of account IDs, for example `["012345678901"]`, or remove the key'),
          ("domains", "a list of patterns of domain names, or of IDs that begin with d-, for example `[research]`"),
          ("user_profiles", "a list of patterns of profile names, for example `[intern-*]`, or remove the key"),
          ("roles", "a list of patterns of role names, for example `[CanvasResearch*]`, or remove the key"),
      )),
    (GUARDRAIL + "assignments:\n  - {guardrails: [a], domains: }\n", 4, "assignments[1].domains",
     "must be a list of patterns"),
    (assignment("{guardrails: [a], domains: research}"), 4, "assignments[1].domains", "must be a list of patterns"),
    (assignment("{guardrails: [a], domains: [x, {y: z}]}"), 4, "assignments[1].domains[2]", TEXT),
    (assignment("{guardrails: [a], user_profiles: ['x ']}"), 4, "assignments[1].user_profiles[1]",
     "with a space: write `x`"),
    *((assignment(f"{{guardrails: [a], accounts: ['{given}']}}"), 4, "assignments[1].accounts[1]",
       f"`{given}` is not an account ID: write its 12 digits, or a pattern such as `1234*`")
      for given in ("12345678901", "1234567890123", "prod", "prod*")),
    *((assignment(f"{{guardrails: [a], accounts: ['{given}']}}"), 4, "assignments[1].accounts[1]",
       f"`{given}` is not an account ID: write `123456789012`")
      for given in ("1234-5678-9012", "1234 5678 9012", "arn:aws:iam::123456789012:root")),
    (assignment("{guardrails: [a], roles: ['arn:aws:iam::111122223333:role/service-role/Canvas']}"), 4,
     "assignments[1].roles[1]", "is not a role name: write `Canvas`, without its ARN or path"),
    (assignment("{guardrails: [a], tags: {}}"), 4, "assignments[1].tags", "must be a mapping of tags to values"),
    (assignment("{guardrails: [a], tags: [team]}"), 4, "assignments[1].tags", "must be a mapping of tags to values"),
    (assignment("{guardrails: [a], tags: }"), 4, "assignments[1].tags", "must be a mapping of tags to values"),
    (assignment("{guardrails: [a], tags: {team: [x, y]}}"), 4, "assignments[1].tags.team",
     f'{TEXT}, for example `team: data-science` ("*" for any value, "" for an empty one)'),
    (assignment("{guardrails: [a], tags: {team: }}"), 4, "assignments[1].tags.team",
     f"{TEXT}, for example `team: data-science`"),
]  # fmt: skip

EXEMPTIONS = [
    (exemption("CanvasBreakGlass"), 6, "exemptions[1]", "must be a mapping with `account`, `approved_by`, `domains`"),
    (exemption(""), 6, "exemptions[1]", "must be a mapping with `account`, `approved_by`, `domains`"),
    (exemption("{role: X}"), 6, "exemptions[1].until", "is missing: write the last day of the exemption"),
    (exemption("{role: X, untill: 2027-01-31}"), 6, "exemptions[1].untill", "unknown key: did you mean `until`?"),
    (exemption("{until: 2027-01-31}"), 6, "exemptions[1].role", "is missing: name the exempt role"),
    (exemption("{until: 2020-01-31}"), 6, "exemptions[1].role", "is missing: name the exempt role"),
    (exemption("{role: , until: 2027-01-31}"), 6, "exemptions[1].role", "must be the name of one role"),
    (exemption("{role: [X, Y], until: 2027-01-31}"), 6, "exemptions[1].role", "must be the name of one role"),
    (exemption("{role: 'arn:aws:iam::111122223333:role/X', until: 2027-01-31}"), 6, "exemptions[1].role",
     "`arn:aws:iam::111122223333:role/X` is not a role name: write `X`, without its ARN or path"),
    (exemption("{role: service-role/X, until: 2027-01-31}"), 6, "exemptions[1].role", "write `X`, without its ARN"),
    (exemption("{role: 'Canvas Break Glass', until: 2027-01-31}"), 6, "exemptions[1].role",
     "`Canvas Break Glass` is not a role name: write it as `CanvasResearch*`"),
    (exemption("{role: Rôle, until: 2027-01-31}"), 6, "exemptions[1].role", "`Rôle` is not a role name"),
    (exemption(f"{{role: {'R' * 65}, until: 2027-01-31}}"), 6, "exemptions[1].role", "is not a role name"),
    *((exemption(f"\n    role: X\n    until: {day}"), 8, "exemptions[1].until",
       "is not a date: write the last day of the exemption, for example `until: 2027-01-31`")
      for day in ("", "soon", "2027-02-30", "2027-1-31", "31.01.2027", "20270131", "2027-W01-1", "2027-01-31T12:00:00Z",
                  "2027-01-31 12:00", "[2027-01-31]", "\uff12027-01-32")),
    *((exemption(f"{{role: X, until: 2027-01-31, {key}: [SEC-123]}}"), 6, f"exemptions[1].{key}", TEXT)
      for key in ("reason", "ticket", "approved_by")),
    (exemption("{role: X, until: 2027-01-31, approved-by: Olga}"), 6, "exemptions[1].approved-by", "`approved_by`"),
    *((exemption(f'{{role: "{name}", until: 2027-01-31}}'), 6, "exemptions[1].role", f"`{name}` has a wildcard, and an")
      for name in ("*", "Canvas*", "?anvasBreakGlass")),
    *((exemption(f"{{role: X, account: {account}, until: 2027-01-31}}"), 6, "exemptions[1].account",
       'must be the 12 digits of one account, for example `account: "111122223333"`')
      for account in ("", "'*'", "1111*", "[111122223333]", "11112222333", "'arn:aws:iam::111122223333:root'",
                      "\uff11\uff11\uff11\uff11222233334")),
    (exemption("{role: X, domains: [], until: 2027-01-31}"), 6, "exemptions[1].domains", "is empty: write a list of"),
    (exemption("{role: X, user_profiles: ana, until: 2027-01-31}"), 6, "exemptions[1].user_profiles", "must be a list"),
]  # fmt: skip

ALSO_GOVERN = [
    (also_govern("[X]"), 5, "also_govern", "must be a mapping with `roles`, `trusting`"),
    (also_govern("X"), 5, "also_govern", "must be a mapping with `roles`, `trusting`"),
    (also_govern("{role: [X]}"), 5, "also_govern.role", "unknown key: did you mean `roles`?"),
    (also_govern("{roles: []}"), 5, "also_govern.roles", "is empty: write a list of patterns of role names"),
    (also_govern("{roles: X}"), 5, "also_govern.roles",
     "must be a list of patterns of role names, for example `[CanvasResearch*]`"),
    (also_govern("{roles: }"), 5, "also_govern.roles", "must be a list of patterns of role names"),
    (also_govern("{roles: [X, 'arn:aws:iam::111122223333:role/Y']}"), 5, "also_govern.roles[2]",
     "is not a role name: write `Y`, without its ARN or path"),
    (also_govern("{trusting: []}"), 5, "also_govern.trusting", "is empty: write a list of services"),
    (also_govern("{trusting: sagemaker.amazonaws.com}"), 5, "also_govern.trusting", "must be a list of services"),
    (also_govern("\n  trusting:\n    - sagemaker"), 7, "also_govern.trusting[1]",
     "`sagemaker` is not a service or account: write it as `sagemaker.amazonaws.com`, or as the 12 digits"),
    (also_govern("{trusting: [\"*.amazonaws.com\"]}"), 5, "also_govern.trusting[1]",
     "`*.amazonaws.com` is not a service or account"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "line", "where", "words"),
    [*SECTIONS, *NAMES, *BODIES, *LISTS, *MODELS, *OPTIONS, *ASSIGNMENTS, *EXEMPTIONS, *ALSO_GOVERN],
)
def test_a_mistake_is_one_line_with_its_place_and_a_solution(text: str, line: int, where: str, words: str) -> None:
    reading = yaml(text)
    assert reading.file == "guardrails.yaml"
    assert reading.rules is None
    [problem] = reading.errors
    assert WAY_OUT.search(problem.message), "the message names no correction"
    assert reading.warnings == ()
    said = one_line(problem)
    place = f"guardrails.yaml:{line}: {where}: " if where else f"guardrails.yaml:{line}: "
    assert said.startswith(place)
    assert words in said.removeprefix(place)


@pytest.mark.parametrize(
    ("text", "line", "where", "words"),
    [
        (exemption("{role: X, until: 2026-05-31}"), 6, "exemptions[1]",
         "ended on 2026-05-31, so `X` needs its guardrails again: remove the exemption"),
        (names("a", "b").replace(", b]", "]"), 3, "guardrails.b",
         "is in no assignment, so it is published but attached to no role: add it to an assignment, or remove it"),
    ],
)  # fmt: skip
def test_a_possibly_intended_value_is_a_warning_and_the_rules_are_read(
    text: str, line: int, where: str, words: str
) -> None:
    reading = yaml(text)
    assert reading.rules is not None
    assert reading.errors == ()
    [problem] = reading.warnings
    assert one_line(problem) == f"guardrails.yaml:{line}: {where}: {words}"


def test_the_message_for_an_allow_list_does_not_mention_all() -> None:
    [problem] = yaml(guardrail("{bedrock: {allow: anthropic.claude-v2}}")).errors
    assert problem.message == (
        "must be a list of model IDs, for example `[model, ...]`: write `allow: [anthropic.claude-v2]`"
    )


def test_several_mistakes_are_reported_together_in_the_order_of_the_file() -> None:
    reading = yaml(
        "mode: maybe\n"
        "guardrails:\n"
        "  a: {bedrock: {deny: [claude-v2, nova-*]}}\n"
        "assignments:\n"
        "  - {guardrails: [b], domains: []}\n"
        "  - {guardrails: [a], domains: [x]}\n"
        "exemptions:\n"
        "  - {role: X}\n"
    )
    assert [(problem.line, problem.where) for problem in reading.errors] == [
        (1, "mode"),
        (3, "guardrails.a.bedrock.deny[1]"),
        (3, "guardrails.a.bedrock.deny[2]"),
        (5, "assignments[1].domains"),
        (5, "assignments[1].guardrails[1]"),
        (6, "assignments[2]"),
        (8, "exemptions[1].until"),
    ]


def test_mistakes_in_one_line_are_reported_in_their_order() -> None:
    reading = yaml(bedrock(", ".join(f"claude-v{number}" for number in range(12))))
    assert [problem.where for problem in reading.errors] == [f"guardrails.a.bedrock.deny[{n}]" for n in range(1, 13)]


@pytest.mark.parametrize(
    "text",
    [
        # One mistake does not cause errors in the valid lines below it.
        "guardrails: [a]\nassignments:\n  - {guardrails: [a], domains: [x]}\n  - guardrails: [b]\n",
        GUARDRAIL + "assignments:\n  - {guardrails: [a], domain: [x]}\n  - guardrails: [a]\n",
        GUARDRAIL + "assignments:\n  - {guardrails: [a], tags: {x: []}}\n",
        names("1a", "1a-2").replace("1a-2", "b"),
    ],
)
def test_a_mistake_does_not_affect_the_lines_below_it(text: str) -> None:
    assert len(yaml(text).errors) == 1


def test_the_shipped_file_has_no_errors_and_the_intended_rules() -> None:
    reading = read(GUARDRAILS, today=TODAY)
    assert (reading.errors, reading.warnings) == ((), ())
    exempt = (ExemptRole("111122223333", "CanvasBreakGlass"),)
    recorded = ("break-glass access", "111122223333", ("d-analytics0001",), ("breakglass",))
    assert reading.rules == Rules(
        {
            "no-generative-ai": Guardrail(
                "no-generative-ai",
                BedrockRule("deny-all"),
                JumpStartRule("deny-all"),
                assistants=AssistantsRule(),
                exempt_roles=exempt,
            ),
            "only-nova-and-sonnet": Guardrail(
                "only-nova-and-sonnet",
                BedrockRule("allow", ("amazon.nova-*", "anthropic.claude-sonnet-4*")),
                JumpStartRule("deny-all"),
                exempt_roles=exempt,
            ),
        },
        (Assignment(("only-nova-and-sonnet",), domains=("research",)), Assignment(("no-generative-ai",))),
        (Exemption("CanvasBreakGlass", date(2027, 1, 31), *recorded, ticket="SEC-123", approved_by="security team"),),
    )


def rules(text: str) -> Rules:
    reading = yaml(text)
    assert reading.errors == ()
    assert reading.rules is not None
    return reading.rules


@pytest.mark.parametrize(
    ("model", "family"),
    [
        ("anthropic.claude-v2:1", "bedrock"),
        ("cohere.command-text-v14:7:4k", "bedrock"),
        ("amazon.titan-text-premier-v1:*", "bedrock"),
        ("openai.gpt-oss-120b-1:0", "bedrock"),
        ("deepseek.r1-v1:0", "bedrock"),
        ("mistral.mistral-7b-instruct-v0:2", "bedrock"),
        ("qwen.qwen3-32b-v1.5*", "bedrock"),
        ("commander.x-1", "bedrock"),
        ("anthropic.*", "bedrock"),
        ('"*.claude-*"', "bedrock"),
        ("huggingface-llm-falcon2-11b", "jumpstart"),
        ('"*-mixtral-*"', "jumpstart"),
        ("model.v1_2", "jumpstart"),
        ("X*", "jumpstart"),
    ],
)
def test_model_ids_and_patterns_are_read_unchanged(model: str, family: str) -> None:
    [found] = rules(guardrail(f"{{{family}: {{deny: [{model}]}}}}")).guardrails.values()
    assert getattr(found, family).patterns == (model.strip('"'),)


def test_a_model_that_occurs_twice_is_kept_once_in_the_order_of_the_file() -> None:
    [found] = rules(jumpstart("b, a, b")).guardrails.values()
    assert found.jumpstart == JumpStartRule("deny", ("b", "a"))


def test_similar_names_are_different_names() -> None:
    wanted = ("a", "a-b", "a_2", "a-2b", "b-2", "c-2-3", "d", "d2", "x" * 100)
    assert tuple(rules(names(*wanted)).guardrails) == wanted


def test_the_mode_of_a_guardrail_overrides_that_of_the_file() -> None:
    text = "mode: observe\nguardrails:\n  a: {bedrock: {deny: all}}\n  b: {mode: enforce, bedrock: {deny: all}}\n"
    found = rules(text + "assignments: [{guardrails: [a, b]}]\n").guardrails
    assert (found["a"].mode, found["b"].mode) == (Mode.OBSERVE, Mode.ENFORCE)


@pytest.mark.parametrize("mode", ["", "mode:\n", "mode: enforce\n"])
def test_without_a_mode_guardrails_are_enforced(mode: str) -> None:
    assert rules(mode + SOUND).guardrails["a"].mode is Mode.ENFORCE


@pytest.mark.parametrize("rest", ["", "exemptions:\nalso_govern:\n", "exemptions: []\nalso_govern: {}\n"])
def test_exemptions_and_also_govern_may_be_left_empty(rest: str) -> None:
    found = rules(SOUND + rest)
    assert found.exemptions == ()
    assert not found.also_govern


def test_every_option_of_a_family_is_read_and_has_its_default() -> None:
    bedrock = f"{{deny: [a.b], customization: allow, indirect: allow, allow_arns: ['{PROVISIONED}']}}"
    jumpstart = "{deny: [c], customization: allow, weights: deny, autopilot: deny}"
    [found] = rules(guardrail(f"{{bedrock: {bedrock}, jumpstart: {jumpstart}}}")).guardrails.values()
    assert found.bedrock == BedrockRule("deny", ("a.b",), Allowance.ALLOW, Allowance.ALLOW, (PROVISIONED,))
    assert found.jumpstart == JumpStartRule("deny", ("c",), Allowance.ALLOW, Allowance.DENY, Allowance.DENY)
    [bare] = rules(guardrail("{bedrock: {deny: [a.b]}, jumpstart: {deny: [c]}}")).guardrails.values()
    assert bare.bedrock == BedrockRule("deny", ("a.b",), Allowance.DENY, Allowance.DENY, ())
    assert bare.jumpstart == JumpStartRule("deny", ("c",), Allowance.DENY, Allowance.ALLOW, Allowance.ALLOW)


def test_the_options_surplus_and_fallback_are_read_and_have_defaults() -> None:
    found = rules(SOUND + "surplus: detach\nfallback: boundary\n")
    assert (found.surplus, found.fallback) == (SurplusPolicies.DETACH, Fallback.BOUNDARY)
    assert (rules(SOUND).surplus, rules(SOUND).fallback) == (SurplusPolicies.KEEP, Fallback.NONE)


def test_also_govern_can_cover_every_role() -> None:
    assert rules(also_govern('{roles: ["*"]}')).also_govern == AlsoGovern(roles=("*",))


@pytest.mark.parametrize("body", ["{roles: [X]}", "{trusting: [sagemaker.amazonaws.com]}"])
def test_also_govern_can_have_only_roles_or_only_services(body: str) -> None:
    assert rules(also_govern(body)).also_govern


def test_also_govern_can_name_a_service_of_china() -> None:
    found = rules(also_govern("{trusting: [sagemaker.amazonaws.com, ec2.amazonaws.com.cn]}")).also_govern
    assert found == AlsoGovern(trusting=("sagemaker.amazonaws.com", "ec2.amazonaws.com.cn"))


def test_the_last_assignment_can_have_no_guardrails() -> None:
    found = rules(GUARDRAIL + "assignments:\n  - {guardrails: [a], domains: [x]}\n  - guardrails: []\n")
    assert found.required(SUBJECT) == ()


def test_an_account_id_keeps_its_leading_zeros_without_quotes() -> None:
    found = rules(assignment("{guardrails: [], accounts: [012345678901, 0777*]}"))
    assert found.assignments[0].accounts == ("012345678901", "0777*")


SUBJECT = Subject("012345678901", "CanvasNadia", "d-abc", "analytics", "nadia", {"team": "data-science", "empty": ""})


@pytest.mark.parametrize(
    ("criteria", "is_one"),
    [
        ({}, True),
        ({"accounts": ("012345678901",)}, True),
        ({"accounts": ("12345678901",)}, False),
        ({"accounts": ("0123*",)}, True),
        ({"domains": ("d-abc",)}, True),
        ({"domains": ("analytics",)}, True),
        ({"domains": ("analytic",)}, False),
        ({"domains": ("Analytics",)}, False),
        ({"domains": ("research", "ana*")}, True),
        ({"user_profiles": ("nadi?",)}, True),
        ({"roles": ("Canvas*",)}, True),
        ({"roles": ("*canvas*",)}, True),
        ({"tags": {"team": "data-*"}}, True),
        ({"tags": {"team": "web"}}, False),
        ({"tags": {"team": "*", "unit": "*"}}, False),
        ({"tags": {"empty": ""}}, True),
        ({"tags": {"empty": "*"}}, True),
        ({"tags": {"team": ""}}, False),
        ({"tags": {"missing": ""}}, False),
        ({"domains": ("analytics",), "roles": ("Canvas*",), "tags": {"team": "*"}}, True),
        ({"domains": ("analytics",), "roles": ("Other",)}, False),
    ],
)
def test_one_criterion_of_each_kind_must_match(criteria: dict[str, Any], is_one: bool) -> None:
    assert Assignment(("a",), **criteria).matches(SUBJECT) is is_one
    assert Assignment(("a",), **criteria).matches_everyone is (criteria == {})


@pytest.mark.parametrize("criteria", [{"domains": ("*",)}, {"user_profiles": ("*",)}, {"tags": {"team": "*"}}])
def test_a_pattern_for_any_text_does_not_match_a_missing_value(criteria: dict[str, Any]) -> None:
    assert not Assignment(("a",), **criteria).matches(Subject("012345678901", "BuildServer"))


def test_tags_are_needed_only_by_assignments_that_use_them() -> None:
    assert not rules(assignment("{guardrails: [], domains: [x]}")).asks_for_tags
    assert rules(assignment('{guardrails: [], tags: {team: ""}}')).asks_for_tags


HOME, OTHER = "111122223333", "222233334444"


@pytest.mark.parametrize(("days", "in_force"), [(-1, True), (0, True), (1, False)])
def test_an_exemption_holds_up_to_and_including_its_last_day(days: int, in_force: bool) -> None:
    until = date(2027, 1, 31)
    found = rules(exemption("{role: CanvasBreakGlass, until: 2027-01-31, reason: SEC-123}"))
    wanted = Exemption("CanvasBreakGlass", until, "SEC-123")
    day = until + timedelta(days)
    assert found.exemption(HOME, "CanvasBreakGlass", day, home=HOME) == (wanted if in_force else None)
    assert found.exemption(HOME, "CanvasBreakGlas", day, home=HOME) is None


def test_an_exemption_without_an_account_applies_in_the_account_of_the_stack_only() -> None:
    found = rules(exemption("{role: X, until: 2026-06-30}"))
    assert found.exemption(HOME, "X", TODAY, home=HOME)
    assert found.exemption(OTHER, "X", TODAY, home=HOME) is None


def test_an_exemption_applies_in_the_account_that_it_names_only() -> None:
    found = rules(exemption(f"{{role: X, account: {OTHER}, until: 2026-06-30}}"))
    assert found.exemption(OTHER, "X", TODAY, home=HOME)
    assert found.exemption(HOME, "X", TODAY, home=HOME) is None


def test_rules_for_several_accounts_need_the_account_of_each_exemption() -> None:
    named = f"  - {{role: X, account: {OTHER}, until: 2026-06-30}}\n"
    rules(f"{SOUND}exemptions:\n{named}").need_accounts()
    with pytest.raises(RulesError) as raised:
        rules(f"{SOUND}exemptions:\n{named}  - {{role: Y, until: 2026-06-30}}\n").need_accounts()
    assert str(raised.value) == (
        "guardrails.yaml: exemptions[2]: `Y` names no account, and the stack covers an organization: "
        'write `account: "111122223333"` with the ID of the role\'s account'
    )


@pytest.mark.parametrize(
    ("subject", "covered"),
    [
        ({"domain_id": "d-1", "domain_name": "research", "user_profile": "rosa"}, True),
        ({"domain_id": "d-1", "domain_name": "research", "user_profile": "ROSA"}, True),
        ({"domain_id": "research", "domain_name": "else", "user_profile": "rosa"}, False),
        ({"domain_id": "d-1", "domain_name": "research"}, False),
        ({"domain_id": "d-1", "domain_name": "research", "user_profile": "ravi"}, False),
        ({"domain_id": "d-2", "domain_name": "analytics", "user_profile": "rosa"}, False),
        ({}, True),  # a role of `also_govern`, which no subject uses
    ],
)
def test_an_exemption_covers_the_subjects_that_it_names(subject: dict[str, Any], covered: bool) -> None:
    [found] = rules(exemption("{role: X, until: 2026-06-30, domains: [research], user_profiles: [rosa]}")).exemptions
    assert found.covers(Subject(HOME, "X", **subject)) is covered


def test_every_guardrail_names_the_exempt_roles_in_one_order() -> None:
    entries = ("{role: B, until: 2026-06-30}", f"{{role: A, account: {OTHER}, until: 2020-06-30}}")
    texts = [
        f"{SOUND}exemptions:\n" + "".join(f"  - {entry}\n" for entry in order)
        for order in (entries, entries[::-1], (*entries, entries[0]))
    ]
    for text in texts:
        reading = yaml(text)
        assert reading.rules
        for found in reading.rules.guardrails.values():
            assert found.exempt_roles == (ExemptRole("", "B"), ExemptRole(OTHER, "A"))


def test_an_exemption_needs_no_reason() -> None:
    assert rules(exemption("{role: X, until: 2026-06-30}")).exemptions == (Exemption("X", date(2026, 6, 30), ""),)


def test_the_exemption_of_a_role_that_has_not_ended_counts() -> None:
    found = rules(SOUND + "exemptions:\n  - {role: X, until: 2026-06-02}\n  - {role: X, until: 2026-06-04}\n")
    assert [found.exemption(HOME, "X", date(2026, 6, day), home=HOME) for day in (2, 3, 5)] == [
        found.exemptions[0],
        found.exemptions[1],
        None,
    ]


def test_an_exemption_that_ends_today_is_no_reason_to_warn() -> None:
    assert yaml(exemption(f"{{role: X, until: {TODAY}}}")).warnings == ()


# Texts have few different letters, so that patterns match often. `[`, `.` and `\n` must have no special meaning.
LETTERS = "ab.[]\\\n"


@given(st.text(LETTERS + "*?", max_size=8), st.text(LETTERS, max_size=8))
@settings(max_examples=400)
def test_patterns_match_as_shell_patterns_without_brackets_do(pattern: str, value: str) -> None:
    assert matches(pattern, value) is fnmatch.fnmatchcase(value, pattern.replace("[", "[[]"))


@given(st.lists(st.sampled_from(["*", "?", "a", "b"])), st.text("ab"))
@settings(max_examples=100)
def test_a_text_matches_the_pattern_with_some_parts_replaced_by_stars(pieces: list[str], value: str) -> None:
    filled = "".join(value if piece == "*" else "a" if piece == "?" else piece for piece in pieces)
    assert matches("".join(pieces), filled)


def test_every_pattern_is_matched_fast() -> None:
    began = time.perf_counter()
    assert not matches("*a" * 30 + "*b", "a" * 64)
    assert not matches("*" * 60 + "b", "a" * 64)
    assert time.perf_counter() - began < 1


SUBJECTS = st.builds(
    Subject,
    account=st.sampled_from(["012345678901", "111122223333"]),
    role=st.sampled_from(["R1", "R2"]),
    domain_name=st.sampled_from(["", "d1", "d2"]),
    user_profile=st.sampled_from(["", "p1", "p2"]),
    tags=st.dictionaries(st.sampled_from(["t", "u"]), st.sampled_from(["", "x", "y"])),
)
GUARDRAIL_NAMES = ("g0", "g1", "g2")
ASSIGNED = st.builds(
    Assignment,
    guardrails=st.lists(st.sampled_from(GUARDRAIL_NAMES), unique=True, max_size=2).map(tuple),
    domains=st.sampled_from([(), ("d1",), ("d*",)]),
    user_profiles=st.sampled_from([(), ("p1",), ("p2", "p1")]),
    roles=st.sampled_from([(), ("R1",), ("*2",)]),
    tags=st.dictionaries(st.sampled_from(["t", "u"]), st.sampled_from(["x", "*", ""]), max_size=1),
)


@given(st.lists(ASSIGNED, max_size=5), SUBJECTS)
@settings(max_examples=100)
def test_the_first_assignment_that_matches_decides(assigned: list[Assignment], subject: Subject) -> None:
    guardrails = {name: Guardrail(name, BedrockRule("deny-all")) for name in GUARDRAIL_NAMES}
    required = Rules(guardrails, tuple(assigned)).required(subject)
    fitting = [one.guardrails for one in assigned if one.matches(subject)]
    assert tuple(guardrail.name for guardrail in required) == (fitting[0] if fitting else ())


def is_whole(reading: FileReading) -> None:
    """Assert that a reading has either rules or errors, and that every line can be printed."""
    assert (reading.rules is None) is bool(reading.errors)
    for problem in (*reading.errors, *reading.warnings):
        assert str(problem).isprintable()


@given(st.text() | st.text("a:-[]{}*&!|>'\"#%@ \n\t?,~\\<U0", max_size=40))
@settings(max_examples=200)
def test_every_text_gives_rules_or_errors(text: str) -> None:
    is_whole(yaml(text))
    is_whole(read_json(text, today=TODAY))


@given(st.data())
@settings(max_examples=80)
def test_a_typing_error_in_a_valid_file_gives_rules_or_errors_with_a_line(data: st.DataObject) -> None:
    text = GUARDRAILS.read_text(encoding="utf-8")
    start = data.draw(st.integers(0, len(text)))
    gone = data.draw(st.integers(0, 12))
    put = data.draw(st.text("a:-[]{}*&!|>'\"#%@ \n\t?,~", max_size=3))
    reading = yaml(text[:start] + put + text[start + gone :])
    is_whole(reading)
    assert all(problem.line for problem in reading.errors)


KEYS = [
    *("mode", "guardrails", "assignments", "exemptions", "also_govern", "bedrock", "jumpstart", "deny", "allow"),
    *(
        "accounts",
        "account",
        "domains",
        "user_profiles",
        "roles",
        "tags",
        "role",
        "until",
        "reason",
        "trusting",
        "a",
        "a-2",
    ),
]
WORDS = ["all", "enforce", "a", "anthropic.claude-v2*", "*", "2027-01-31", "2020-01-31", "sagemaker.amazonaws.com"]
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(WORDS)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=3), inner),
    max_leaves=12,
)


def shaped(**parts: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Mappings with some of these keys and sometimes other ones, or values that are not mappings."""
    wanted = st.fixed_dictionaries({}, optional={**parts, "else": ANYTHING})
    return st.one_of(wanted, wanted, wanted, ANYTHING)


def listed(part: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(part, max_size=3) | ANYTHING


TEXTS = listed(st.sampled_from(WORDS) | SCALARS)
MODEL_RULE = shaped(deny=st.just("all") | TEXTS, allow=TEXTS)
DOCUMENTS = shaped(
    mode=SCALARS,
    guardrails=st.dictionaries(st.sampled_from(KEYS), shaped(bedrock=MODEL_RULE, jumpstart=MODEL_RULE, mode=SCALARS)),
    assignments=listed(shaped(guardrails=TEXTS, accounts=TEXTS, domains=TEXTS, roles=TEXTS, tags=ANYTHING)),
    exemptions=listed(
        shaped(role=SCALARS, account=SCALARS, domains=TEXTS, user_profiles=TEXTS, until=SCALARS, reason=ANYTHING)
    ),
    also_govern=shaped(roles=TEXTS, trusting=TEXTS),
)


@given(DOCUMENTS | ANYTHING)
@settings(max_examples=120)
def test_every_document_gives_rules_or_errors(document: Any) -> None:
    is_whole(read_document(document, {}, file="guardrails.json", today=TODAY))


BARE: dict[str, Any] = {"guardrails": {"a": {"bedrock": {"deny": "all"}}}, "assignments": [{"guardrails": ["a"]}]}


@pytest.mark.parametrize("value", [7, True, False, 1.5])
@pytest.mark.parametrize(
    ("place", "where"),
    [
        ((), ""),
        (("mode",), "mode"),
        (("guardrails",), "guardrails"),
        (("guardrails", "a"), "guardrails.a"),
        (("guardrails", "a", "bedrock"), "guardrails.a.bedrock"),
        (("guardrails", "a", "bedrock", "deny"), "guardrails.a.bedrock.deny"),
        (("assignments",), "assignments"),
        (("assignments", 0), "assignments[1]"),
        (("assignments", 0, "guardrails"), "assignments[1].guardrails"),
        (("assignments", 0, "guardrails", 0), "assignments[1].guardrails[1]"),
        (("exemptions",), "exemptions"),
        (("also_govern",), "also_govern"),
    ],
)
def test_json_with_a_wrong_type_is_one_problem(value: object, place: tuple[str | int, ...], where: str) -> None:
    document: Any = json.loads(json.dumps(BARE))
    if place:
        *above, last = place
        inner = document
        for part in above:
            inner = inner[part]
        inner[last] = value
    else:
        document = value
    reading = read_json(json.dumps(document), today=TODAY)
    [problem] = reading.errors
    assert reading.rules is None
    assert one_line(problem).startswith(
        f"guardrails.json: {where}: " if where else "guardrails.json: must be a mapping"
    )


def test_an_account_id_that_is_a_number_in_json_is_a_problem_and_no_other_account() -> None:
    entry = {"guardrails": ["a"], "accounts": [111122223333]}
    [problem] = read_json(json.dumps({**BARE, "assignments": [entry, {"guardrails": []}]}), today=TODAY).errors
    assert one_line(problem) == (
        "guardrails.json: assignments[1].accounts[1]: must be one text, in quotes if it is a number: "
        'write a list of account IDs, for example `["012345678901"]`'
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "guardrails.json:1: is not valid JSON (Expecting value): let `sam build` write it from guardrails.yaml"),
        ('{\n "mode": }', "guardrails.json:2: is not valid JSON (Expecting value): let `sam build` write it"),
        ("null", "guardrails.json: is empty: write `guardrails:` and `assignments:`"),
        (
            '{"mode": "observe", "mode": "enforce"}',
            "guardrails.json: the key `mode` is in one mapping twice: keep one",
        ),
        ("[" * 200_000, "guardrails.json: is nested too deep: let `sam build` write it"),
        ("9" * 5000, "guardrails.json: has a number of thousands of digits: let `sam build` write it"),
    ],
)
def test_a_broken_json_file_is_a_problem_and_no_traceback(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "guardrails.json"
    path.write_text(text)
    reading = read(path, today=TODAY)
    assert reading.rules is None
    [problem] = reading.errors
    assert one_line(problem).startswith(said)
    with pytest.raises(RulesError, match=re.escape(said)):
        load(path, today=TODAY)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "guardrails.yaml: cannot be read: No such file or directory; give a file that you can read"),
        ("folder", "guardrails.yaml: cannot be read: Is a directory; give a file that you can read"),
        (b"mode: enforce\n# caf\xe9\n", "guardrails.yaml:2: is not UTF-8 text: save the file as UTF-8"),
        ("mode: enforce".encode("utf-16"), "guardrails.yaml:1: is not UTF-8 text: save the file as UTF-8"),
    ],
)
def test_a_file_that_cannot_be_read_is_a_problem(tmp_path: Path, content: str | bytes | None, said: str) -> None:
    path = tmp_path / "guardrails.yaml"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content:
        path.mkdir()
    reading = read(path, today=TODAY)
    assert reading.rules is None
    assert [one_line(problem) for problem in reading.errors] == [said]


def test_a_file_without_read_permission_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "read_text", refuse)  # The root user can read every file.
    [problem] = read(GUARDRAILS, today=TODAY).errors
    assert one_line(problem) == "guardrails.yaml: cannot be read: Permission denied; give a file that you can read"


@pytest.mark.parametrize(
    "disguise", [lambda raw: b"\xef\xbb\xbf" + raw, lambda raw: raw.replace(b"\n", b"\r\n")], ids=["BOM", "CRLF"]
)
def test_characters_that_windows_editors_add_change_nothing(tmp_path: Path, disguise: Any) -> None:
    path = tmp_path / "guardrails.yaml"
    path.write_bytes(disguise(GUARDRAILS.read_bytes()))
    assert load(path, today=TODAY) == load(GUARDRAILS, today=TODAY)
    path.write_bytes(disguise(bedrock("claude-v2").encode()))
    assert [problem.line for problem in read(path, today=TODAY).errors] == [2]


def test_load_raises_a_line_for_each_error(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text("mode: off\n" + bedrock("claude-v2"))
    with pytest.raises(RulesError) as raised:
        load(path, today=TODAY)
    first, second = str(raised.value).splitlines()
    assert first.startswith("rules.yaml:1: mode: ")
    assert second.startswith("rules.yaml:3: guardrails.a.bedrock.deny[1]: ")


def test_control_characters_of_a_value_do_not_break_the_line() -> None:
    [problem] = yaml('mode: "en\\nforce\\e[31m\\ud800"\n' + SOUND).errors
    assert (
        str(problem)
        == r"guardrails.yaml:1: mode: `en\nforce\x1b[31m\ud800` is not understood: write `enforce` or `observe`"
    )
