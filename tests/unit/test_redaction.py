from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chandlery.redaction import redact


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgresql://u:p@h/db", "postgresql://u:***@h/db"),
        ("cannot reach 'postgresql://u:p@ss/w:rd@h:5432/db'.", "cannot reach 'postgresql://u:***@h:5432/db'."),
        ("https://:token@h", "https://:***@h"),
        ("host=h password=secret user=u", "host=h password=*** user=u"),
        (r"password = 'it\'s a secret' user=u", "password = *** user=u"),
        ('password="two words" user=u', "password=*** user=u"),
        (r"password=two\ words user=u", "password=*** user=u"),
        ("PGPASSWORD=x sslpassword=y passwd=z", "PGPASSWORD=*** sslpassword=*** passwd=***"),
        ("postgresql://h/db?password=secret", "postgresql://h/db?password=***"),
        ("postgresql://u@h:5432/db", "postgresql://u@h:5432/db"),
        ('password authentication failed for user "u"', 'password authentication failed for user "u"'),
    ],
)
def test_masks_passwords_and_nothing_else(text: str, expected: str) -> None:
    assert redact(text) == expected


@given(st.text())
def test_masking_twice_changes_nothing(text: str) -> None:
    assert redact(redact(text)) == redact(text)


_SECRET = st.text(st.characters(codec="utf-8", exclude_categories=["Z", "C"]), min_size=8)


@given(_SECRET, st.sampled_from(["postgresql://u:{}@h/db", "connect to https://:{}@h failed"]))
def test_no_password_of_a_url_survives(secret: str, template: str) -> None:
    assert f":{secret}@" not in redact(template.format(secret))


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1))
def test_no_password_of_a_connection_string_survives(secret: str) -> None:
    from psycopg.conninfo import make_conninfo

    conninfo = make_conninfo("host=h", password=secret)
    assert redact(conninfo) == "host=h password=***"
