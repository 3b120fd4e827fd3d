from __future__ import annotations

import pytest

from heartbeat.http.ascii import ascii_url


@pytest.mark.parametrize(
    ("url", "ascii_form"),
    [
        ("https://münchen.de/", "https://xn--mnchen-3ya.de/"),
        ("http://FASS.faß.de:8080/ä?ö=ü", "http://fass.xn--fa-hia.de:8080/%C3%A4?%C3%B6=%C3%BC"),
        ("http://127.0.0.1/é", "http://127.0.0.1/%C3%A9"),
    ],
)
def test_a_url_is_put_into_ascii(url: str, ascii_form: str) -> None:
    assert ascii_url(url) == ascii_form


@pytest.mark.parametrize("url", ["http://☃︎\u200b.net/", "http://exämple.net:x/", "http://a\u3002\u3002b.ä/"])
def test_a_url_that_has_no_ascii_form_is_told(url: str) -> None:
    with pytest.raises(ValueError, match="this is no URL"):
        ascii_url(url)
