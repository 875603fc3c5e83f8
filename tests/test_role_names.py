"""Every command that takes the name of a role reads it as IAM does, and suggests a name for one that does not exist."""

import pytest

from tests.desk import NOVA, ON_AN_ACCOUNT, PARAMETERS, Desk, run

pytestmark = pytest.mark.long

GIVEN = {
    "detach": lambda desk, role: [*desk.surplus(), role, "--yes"],
    "explain": lambda desk, role: [*desk.rules(), role, NOVA],
    "history": lambda desk, role: [*desk.swept(), "--role", role],
    "verify": lambda desk, role: [*desk.verified(), "--role", role, "--model", NOVA],
}
"""The arguments of each command that takes a role."""

ROLES = {"detach": "BuildServer"}


def test_every_command_with_the_name_of_a_role_is_here():
    found = {name for name in ON_AN_ACCOUNT if {"role", "--role", "ROLE"} & PARAMETERS[name]}
    assert found == set(GIVEN)


@pytest.mark.parametrize("name", GIVEN)
def test_a_name_in_other_case_is_the_role(desk: Desk, name: str) -> None:
    role = ROLES.get(name, "CanvasRosa")
    result = run(name, *GIVEN[name](desk, role.upper()))
    assert "has no role" not in result.output
    assert result.exit_code in {0, 2}
    assert name == "verify" or role in result.stdout


@pytest.mark.parametrize("name", GIVEN)
def test_a_name_that_is_nearly_right_gets_the_right_one(desk: Desk, name: str) -> None:
    role = ROLES.get(name, "CanvasRosa")
    result = run(name, *GIVEN[name](desk, role.replace("s", "sz", 1).lower() if name != "detach" else "BuildServr"))
    assert f"(did you mean `{role}`?)" in " ".join(result.output.split())


def test_a_person_whom_no_row_names_is_not_said_to_be_erased(desk: Desk) -> None:
    result = run("erase", *desk.swept(), "nobody", "--yes")
    assert result.exit_code == 0
    assert "no row of the history names `nobody`" in result.stdout
    assert "erased" not in result.stdout
