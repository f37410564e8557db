import pytest

from app.web.hosts import allowed, host_name, parse_allowed
from tests.pages import client, make_app


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("localhost:8888", 200),
        ("gemlens.localhost:3000", 200),
        ("127.0.0.1:3000", 200),
        ("127.9.9.9", 200),
        ("[::1]:3000", 200),
        ("evil.example", 400),
        ("localhost.evil.example", 400),
        ("127.0.0.1.evil.example", 400),
        ("localhost@evil.example", 400),
        ("[::1", 400),
        ("", 400),
        ("lab.example:443", 200),
        ("a.fleet.example", 200),
        ("fleet.example", 400),
        ("LAB.example", 200),
    ],
)
def test_only_known_names_are_answered(host: str, status: int) -> None:
    app = make_app(allowed_hosts="lab.example, *.fleet.example")
    with client(app) as browser:
        assert browser.get("/", headers={"Host": host}).status_code == status


def test_a_foreign_name_is_told_in_a_sentence_and_escaped() -> None:
    with client(make_app()) as browser:
        answer = browser.get("/", headers={"Host": "evil<script>.example"})
    assert answer.status_code == 400
    assert "<script>." not in answer.text
    assert "GEMLENS_ALLOWED_HOSTS" in answer.text


def test_probes_may_call_by_address() -> None:
    with client(make_app()) as browser:
        assert browser.get("/healthz", headers={"Host": "10.1.2.3:3000"}).status_code == 200
        assert browser.get("/metrics", headers={"Host": "10.1.2.3:3000"}).status_code == 400


def test_a_star_allows_any_name() -> None:
    assert allowed("anything.example", allowed_hosts=parse_allowed("*"))


def test_names_are_cut_from_ports_and_brackets() -> None:
    assert [host_name(text) for text in ("a:1", "[::1]:2", "b", "[")] == ["a", "::1", "b", ""]
