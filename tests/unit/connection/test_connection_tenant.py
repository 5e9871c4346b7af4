"""Which tenant is called: as people write it, and what is refused."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from yarl import URL

from worker.connection import Tenant, load_tenant
from worker.errors import ConfigurationError

NAME = "MONOCLOUD_MANAGEMENT_DOMAIN"


@pytest.mark.parametrize(
    ("text", "tenant"),
    [
        (
            "acme.us.monocloud.com",
            Tenant("acme.us.monocloud.com", "https://acme.us.monocloud.com/api/", False),
        ),
        ("https://acme.example", Tenant("acme.example", "https://acme.example/api/", False)),
        ("  HTTPS://Acme.Example//\n", Tenant("acme.example", "https://acme.example/api/", False)),
        ("acme.example:8443", Tenant("acme.example:8443", "https://acme.example:8443/api/", False)),
        ("acme.example:443", Tenant("acme.example", "https://acme.example/api/", False)),
        ("apis.example", Tenant("apis.example", "https://apis.example/api/", False)),
        ("10.0.0.5", Tenant("10.0.0.5", "https://10.0.0.5/api/", False)),
        ("http://127.0.0.1:8080", Tenant("127.0.0.1:8080", "http://127.0.0.1:8080/api/", True)),
        ("http://127.9.9.9/", Tenant("127.9.9.9", "http://127.9.9.9/api/", True)),
        ("http://localhost:80", Tenant("localhost", "http://localhost/api/", True)),
        ("http://[::1]:8080", Tenant("[::1]:8080", "http://[::1]:8080/api/", True)),
        ("https://[2001:DB8::1]", Tenant("[2001:db8::1]", "https://[2001:db8::1]/api/", False)),
    ],
)
def test_an_address_as_people_write_it(text: str, tenant: Tenant) -> None:
    assert Tenant.parse(text) == tenant


@pytest.mark.parametrize(
    ("text", "write"),
    [
        ("acme.example/api", "'acme.example'"),
        ("acme.example/api/", "'acme.example'"),
        ("https://acme.example/api/v1", "'https://acme.example'"),
        ("https://acme.example/API/V1//", "'https://acme.example'"),
        ("http://127.0.0.1:8080/api", "'http://127.0.0.1:8080'"),
        ("https://me:hush@acme.example/api", "'acme.example'"),
    ],
)
def test_the_apis_own_path_is_refused_and_told_what_to_write(text: str, write: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Tenant.parse(text)
    assert str(caught.value).endswith(f"write {write}.")
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "http://acme.example",
        "http://127.0.0.1.acme.example",
        "http://localhost.acme.example",
        "http://10.0.0.1",
        "http://0.0.0.0",
        "http://[::ffff:127.0.0.1]",
        "http://2130706433",
        "http://127.1",
    ],
)
def test_plain_http_is_for_loopback_alone(text: str) -> None:
    with pytest.raises(ConfigurationError, match="plain http"):
        Tenant.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "https://",
        "/",
        "acme.example/tenant",
        "acme.example?x=1",
        "acme.example?",
        "acme.example#",
        "acme.example/#/x",
        "acme example",
        "acme.example\n.evil.example",
        "me:hush@acme.example",
        "https://me:hush@acme.example",
        "me@acme.example",
        "acme.example:",
        "acme.example:0",
        "acme.example:99999",
        "acme.example:https",
        "acme..example",
        "-acme.example",
        "acme.example.",
        "::1",
        "http://[::1",
        "http://[fe80::1%25lo]",
        "ftp://acme.example",
        "https://https://acme.example",
        "bücher.example",
        "acme\\.example",
        f"{'a' * 64}.example",
    ],
)
def test_what_is_no_domain_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Tenant.parse(text)
    assert "acme.us.monocloud.com" in str(caught.value)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["acme", "https://acme", "Acme:8443", "user-pool-7", "2130706433", "https://0x7f000001"]
)
def test_half_a_domain_is_refused_and_told_what_to_write(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"no whole domain. Was [\w-]+.us.monocloud.com meant"):
        Tenant.parse(text)


@pytest.mark.parametrize("text", ["127.1", "10.0.0", "acme.12", "1.2.3.0x4"])
def test_an_address_in_an_odd_spelling_is_no_domain(text: str) -> None:
    with pytest.raises(ConfigurationError, match="is no domain"):
        Tenant.parse(text)


@given(st.text(st.sampled_from("aZ0.-:/@?#%[]\\ \t\nhttps127api")) | st.text())
@example("http://127.0.0.1@evil.example")
@example("http://evil.example\\@127.0.0.1")
@example("http://127.0.0.1#@evil.example")
def test_whatever_is_read_is_what_a_client_would_call(text: str) -> None:
    try:
        tenant = Tenant.parse(text)
    except ConfigurationError:
        return
    url = URL(tenant.base_url)
    assert (url.path, url.query_string, url.user) == ("/api/", "", None)
    assert tenant.base_url == f"{url.scheme}://{tenant.name}/api/"
    assert url.scheme == "https" or tenant.loopback
    assert Tenant.parse(f"{url.scheme}://{tenant.name}") == tenant


def test_the_flag_comes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAME, "environment.example")
    assert load_tenant("flag.example").name == "flag.example"
    assert load_tenant(None).name == "environment.example"


@pytest.mark.parametrize(("flag", "variable"), [(None, None), (None, " "), ("", "acme.example")])
def test_without_either_it_says_what_to_set(
    flag: str | None, variable: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(NAME, raising=False)
    if variable is not None:
        monkeypatch.setenv(NAME, variable)
    with pytest.raises(ConfigurationError, match=f"--tenant or set {NAME}"):
        load_tenant(flag)


def test_a_variable_that_is_no_text_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAME, "acme\udcff")
    with pytest.raises(ConfigurationError, match="no domain"):
        load_tenant(None)
