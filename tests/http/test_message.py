from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from heartbeat.http.message import DEFAULT_PORTS, target

PIECES = st.sampled_from(
    ["http", "HTTPS", "socks5h", "ftp", ":", "//", "/", "?", "#", "@", "\\", "[::1]", "[", "]", "%41", " ", "\t", "\n",
     "\0", "shop.example", "Shop", "127.0.0.1", "8080", "99999", "user:secret", "é", "℀"]
)  # fmt: skip


@given(st.lists(PIECES, max_size=9).map("".join) | st.text(max_size=30).map("http://shop{}".format))
@example("http:\t//shop/")
@example("http:/\t/shop/")
@example("http://shop?@other/")
def test_where_a_url_leads_follows_from_what_comes_before_the_path(url: str) -> None:
    try:
        parts = urlsplit(url)
        expected = (parts.scheme, parts.hostname, parts.port or DEFAULT_PORTS.get(parts.scheme))
    except ValueError:
        with pytest.raises(ValueError):  # noqa: PT011 - the words are Python's
            target(url)
        return
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname or not parts.hostname.isascii():
        with pytest.raises(ValueError, match="URL"):
            target(url)
    else:
        there = target(url)
        assert (there.scheme, there.host, there.port) == expected


def test_urls_of_one_host_share_what_is_known_of_it() -> None:
    assert target("http://[::1]:8080/a?b") is target("http://[::1]:8080#c")
    assert str(target("http://[::1]:8080/a")) == "[::1]:8080"
    assert target("https://127.0.0.1/").literal
