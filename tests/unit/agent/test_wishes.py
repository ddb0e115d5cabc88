"""How people and drivers write down that a volume is only read."""

import pytest

from volumehealth.agent.wishes import wants_read_only


@pytest.mark.parametrize(
    ("options", "attributes"),
    [
        (["ro"], {}),
        (["read-only"], {}),
        (["noatime,ro"], {}),
        (["ro,noload"], {}),
        (["--read-only"], {}),
        (["-o ro"], {}),
        (["allow-other", "readonly"], {}),
        ([], {"mountOptions": "vers=4,ro"}),
        ([], {"mountFlags": "ro"}),
        ([], {"readOnly": "true"}),
        ([], {"read-only": "True"}),
        ([], {"readOnly": "1"}),
        ([], {"isReadOnly": "yes"}),
        (["-r"], {}),
    ],
)
def test_a_wish_is_understood(options: list[str], attributes: dict[str, str]) -> None:
    assert wants_read_only(options, attributes)


@pytest.mark.parametrize(
    ("options", "attributes"),
    [
        (["rw", "errors=remount-ro"], {}),
        (["rootcontext=ro_t"], {}),
        (["recover=ro_x", "norelatime"], {}),
        ([], {"readOnly": "false"}),
        ([], {"readOnly": "0"}),
        (["--r", "rsize=8192"], {}),
        ([], {"share": "/ro"}),
        ([], {"server": "ro"}),
    ],
)
def test_other_words_are_no_wish(options: list[str], attributes: dict[str, str]) -> None:
    assert not wants_read_only(options, attributes)
