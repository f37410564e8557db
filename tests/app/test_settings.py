"""Every setting is documented, and the documents are what the settings say."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from app.settings import Settings, env_example, table

ROOT = Path(__file__).parents[2]


def test_env_example_is_what_the_settings_say() -> None:
    assert (ROOT / ".env.example").read_text(encoding="utf-8") == env_example()


def test_the_table_in_the_docs_is_what_the_settings_say() -> None:
    assert (ROOT / "docs" / "settings.md").read_text(encoding="utf-8").endswith(table())


def test_every_setting_says_in_a_sentence_what_it_does() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert field.description.endswith("."), name


def test_limits_carry_their_unit_in_their_name() -> None:
    units = ("_bytes", "_tokens", "_characters", "_rows", "_features", "_seconds", "_ms", "_mib")
    for name in Settings.model_fields:
        if name.startswith("max_") or name.endswith("timeout"):
            assert name.endswith(units), name


def test_the_environment_sets_what_a_flag_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEMLENS_PORT", "4123")
    assert Settings(_env_file=None).port == 4123
    assert Settings(_env_file=None, port=4124).port == 4124


def test_float16_is_refused_with_the_reason() -> None:
    with pytest.raises(ValidationError, match="float16 overflows"):
        Settings(_env_file=None, dtype="float16")


def test_a_base_path_without_its_slash_is_refused() -> None:
    with pytest.raises(ValidationError, match="starts with a slash"):
        Settings(_env_file=None, base_path="gemlens")
    assert Settings(_env_file=None, base_path="/gemlens/").base_path == "/gemlens"


def test_a_model_has_one_name_however_it_is_spelt() -> None:
    for spelt in ("gemma-3-270m", "google/gemma-3-270m-pt", "gemma-3-270m-pt"):
        assert Settings(_env_file=None, model=spelt).model == "gemma-3-270m"
    assert Settings(_env_file=None, model="my-tune.v2").model == "my-tune.v2"
    with pytest.raises(ValidationError, match="named by its id"):
        Settings(_env_file=None, model="somebody/my-tune")
