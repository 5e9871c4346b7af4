"""User documents, written as text from a template: many times cheaper than building and dumping a dict."""

from __future__ import annotations

from collections.abc import Collection
from json.encoder import encode_basestring
from typing import Final, NamedTuple

from worker.sandbox.people import Person

OPENED_AT: Final = 1_546_300_800
"""The tenant's first user signed up on 2019-01-01."""
OPEN_FOR_S: Final = 6 * 365 * 86_400
"""Sign-ups are spread evenly over this time."""

_CITIES: Final = (
    ("Zürich", "Zürich", "Switzerland"),
    ("Málaga", "Andalucía", "Spain"),
    ("São Paulo", "São Paulo", "Brazil"),
    ("Liège", "Liège", "Belgium"),
    ("Århus", "Midtjylland", "Denmark"),
    ("Köln", "Nordrhein-Westfalen", "Germany"),
)
_SUMMARY_ONLY: Final = '"public_data":{"theme":"dark","locale":"de-CH"},"private_data":{"crm":"%08d"},'


class Standing(NamedTuple):
    """What can change about a user.

    Attributes:
        verified: Whether the contact in each slot is verified: primary e-mail, second e-mail, phone.
        disabled: Whether sign-in is closed.
        force_reset: Whether the password must be set anew.
        updated_at: Epoch seconds of the last change; 0 for none.
    """

    verified: tuple[bool, bool, bool]
    disabled: bool
    force_reset: bool
    updated_at: int


def created_at(index: int, count: int) -> int:
    """Return when the user at `index` of `count` signed up, in epoch seconds; ascending."""
    return OPENED_AT + index * OPEN_FOR_S // count


def sort_keys(person: Person, created: int, updated_at: int) -> dict[str, int]:
    """Return the values of the fields that a list can be sorted by."""
    t = person.traits
    signed_in = created + 86_400 * (1 + t[4])
    return {
        "creation_time": created,
        "last_updated": updated_at or signed_in,
        "last_activity": signed_in + 60,
        "last_sign_in_success": signed_in,
        "last_sign_in_attempt": signed_in + 30,
        "sign_in_attempts_count": t[5] + t[4] % 7,
        "sign_in_success_count": t[5],
        "failure_count": t[4] % 7,
        "block_until": 0,
    }


def user_document(
    person: Person, standing: Standing, created: int, *, without: Collection[str] = (), summary: bool = False
) -> str:
    """Return the user as JSON text of about 1.6 KB.

    Args:
        person: The user.
        standing: What has changed about them.
        created: Epoch seconds of the sign-up.
        without: Ids of e-mails and phones to leave out.
        summary: Leave out what a `UserSummary` does not have.
    """
    t = person.traits
    keys = sort_keys(person, created, standing.updated_at)
    city, region, country = _CITIES[t[4] % len(_CITIES)]
    data = "" if summary else _SUMMARY_ONLY % person.place
    return (
        f'{{"user_id":{encode_basestring(person.user_id)},"disabled":{_bool(standing.disabled)},'
        f'"creation_time":{created},"last_updated":{keys["last_updated"]},'
        f'"last_activity":{keys["last_activity"]},"last_sign_in_success":{keys["last_sign_in_success"]},'
        f'"last_sign_in_success_ip":"203.0.113.{t[4]}","last_sign_in_attempt":{keys["last_sign_in_attempt"]},'
        f'"last_sign_in_attempt_ip":"203.0.113.{t[5]}",'
        f'"sign_in_attempts_count":{keys["sign_in_attempts_count"]},'
        f'"sign_in_success_count":{keys["sign_in_success_count"]},"failure_count":{keys["failure_count"]},'
        f'"block_until":null,"password_updated_at":{created},"has_password":{_bool(bool(t[3] & 12))},'
        f'"force_password_reset":{_bool(standing.force_reset)},"last_known_city":"{city}",'
        f'"last_known_region":"{region}","last_known_country":"{country}",{_claims(person)},{data}'
        f'"connections":[{{"idp":"local","connection_id":"{person.username_id[:8]}"}}],'
        f'"external_providers":[{_provider(person)}],"emails":[{_emails(person, standing, without)}],'
        f'"phone_numbers":[{_phones(person, standing, without)}],"passkeys":[{_passkeys(person)}],'
        f'"username":{{"id":"{person.username_id}","username":"{person.username}","source":"sign_up"}}}}'
    )


def _bool(value: bool) -> str:
    return "true" if value else "false"


def _claims(person: Person) -> str:
    given, _, family = person.username.partition(".")
    return (
        f'"claims":{{"given_name":"{given.title()}","family_name":"{family.title()}",'
        f'"preferred_username":"{person.username}","picture":"https://pictures.example/{person.username_id}.png",'
        '"locale":"de-CH","zoneinfo":"Europe/Zurich"}'
    )


def _emails(person: Person, standing: Standing, without: Collection[str]) -> str:
    shown = []
    for slot, email_id in enumerate(person.email_ids):
        if email_id not in without:
            address = person.second_email if slot else person.email
            shown.append(
                f'{{"id":{encode_basestring(email_id)},"email":"{address}","primary":{_bool(slot == 0)},'
                f'"verified":{_bool(standing.verified[slot])},"source":"sign_up",'
                '"verification_source":"email_code"}'
            )
    return ",".join(shown)


def _phones(person: Person, standing: Standing, without: Collection[str]) -> str:
    if not person.phone_id or person.phone_id in without:
        return ""
    return (
        f'{{"id":"{person.phone_id}","phone":"+4179{person.place:07}","primary":true,'
        f'"verified":{_bool(standing.verified[2])},"source":"profile","verification_source":"sms_code"}}'
    )


def _provider(person: Person) -> str:
    if not person.traits[3] & 16:
        return ""
    return (
        f'{{"authenticator":"google","provider_user_id":"1{person.place:020}",'
        f'"claims":{{"email":"{person.email}","email_verified":true,"name":"{person.username}"}}}}'
    )


def _passkeys(person: Person) -> str:
    if person.traits[3] >> 5 != 1:
        return ""
    key = person.username_id.replace("-", "") * 4
    return (
        f'{{"passkey_id":"{person.username_id}","name":"Laptop","public_key":"{key}",'
        '"aa_guid":"ea9b8d66-4d01-1d21-3ce4-b6b48cb575d4","backup_state":true,"backup_eligibility":true,'
        '"user_present":true,'
        '"user_verified":true,"user_agent":"Mozilla/5.0 (X11; Linux x86_64) Firefox/143.0"}'
    )
