"""Which proxy the environment names for a tenant."""

import pytest
from yarl import URL

from worker.errors import ConfigurationError
from worker.transport.proxies import Proxy, proxy_for

BASE = URL("https://acme.example/api/")


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def test_without_a_variable_there_is_no_proxy() -> None:
    assert proxy_for(BASE) is None


@pytest.mark.parametrize("name", ["https_proxy", "HTTPS_PROXY"])
@pytest.mark.parametrize("named", ["http://proxy.example:3128", "proxy.example:3128"])
def test_the_environment_names_it(name: str, named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, named)
    assert proxy_for(BASE) == Proxy(URL("http://proxy.example:3128"), None)


def test_its_login_becomes_a_header_and_leaves_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://user%40corp:p%2525%3A@proxy.example:3128")
    # base64 of `user@corp:p%25:`
    assert proxy_for(BASE) == Proxy(
        URL("http://proxy.example:3128"), {"Proxy-Authorization": "Basic dXNlckBjb3JwOnAlMjU6"}
    )


@pytest.mark.parametrize("bypassed", ["acme.example", ".example", "*", "other,acme.example"])
def test_no_proxy_is_honoured(bypassed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", bypassed)
    assert proxy_for(BASE) is None


def test_plain_http_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    assert proxy_for(URL("http://127.0.0.1:8080/api/")) is None


@pytest.mark.parametrize("named", ["http://", "socks5://user:hush@proxy.example:1080", "http://[::1", "://x"])
def test_what_is_no_http_proxy_is_refused_without_showing_it(
    named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", named)
    with pytest.raises(ConfigurationError, match="HTTPS_PROXY") as caught:
        proxy_for(BASE)
    assert "hush" not in str(caught.value)
