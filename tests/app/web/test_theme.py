import pytest

from tests.pages import client, make_app


def test_the_choice_is_kept_in_a_cookie_and_drawn_by_the_server() -> None:
    with client(make_app()) as browser:
        assert 'data-theme="system"' in browser.get("/").text
        answer = browser.post("/theme", data={"theme": "dark"}, follow_redirects=False)
        assert answer.status_code == 303
        cookie = answer.headers["Set-Cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=lax" in cookie
        assert 'data-theme="dark"' in browser.get("/").text


def test_a_cookie_that_is_no_scheme_is_ignored() -> None:
    with client(make_app()) as browser:
        page = browser.get("/", headers={"Cookie": 'gemlens_theme="><script>'})
    assert 'data-theme="system"' in page.text


def test_another_word_is_refused_with_a_sentence() -> None:
    with client(make_app()) as browser:
        answer = browser.post("/theme", data={"theme": "neon"})
    assert answer.status_code == 400
    assert "choose system, light or dark" in answer.text


@pytest.mark.parametrize(
    ("referer", "back"),
    [
        ("http://localhost:3000/gemma-3-270m/live?text=hi", "/gemma-3-270m/live?text=hi"),
        ("http://localhost:3000//evil.example/", "/evil.example/"),
        ("http://evil.example/", "/"),
        ("", "/"),
    ],
)
def test_one_comes_back_to_the_page_and_never_to_another_site(referer: str, back: str) -> None:
    with client(make_app()) as browser:
        answer = browser.post("/theme", data={"theme": "dark"}, headers={"Referer": referer}, follow_redirects=False)
    assert answer.headers["Location"] == back
