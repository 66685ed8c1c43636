"""Settings: from where, in which order, and one clear error for whatever cannot be used."""

from __future__ import annotations

import os
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from packshot.errors import Code, ConfigError
from packshot.settings import DEFAULT_PRICES, ENV_FILE, PREFIX, Settings, load_settings

SECRETS = ("apiyi_key", "apiyi_system_token", "s3_access_key_id", "s3_secret_access_key")
SECRET = "sk-verysecret123"


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def refused(monkeypatch: pytest.MonkeyPatch, **variables: str) -> str:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as failure:
        load_settings()
    assert failure.value.code is Code.SETTINGS_INVALID
    return failure.value.message


# --- where values come from -----------------------------------------------------------------------------------
def test_nothing_has_to_be_set() -> None:
    settings = load_settings()
    assert settings.home == Path(".packshot")
    assert settings.db_url == f"sqlite:///{Path.cwd()}/.packshot/packshot.db"
    assert settings.spool == Path(".packshot/spool")


def test_the_environment_wins_over_the_env_file_and_arguments_over_both(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("PACKSHOT_CONCURRENCY=7\nPACKSHOT_S3_BUCKET=file\nOTHER=1\n")
    assert load_settings().concurrency == 7
    monkeypatch.setenv("PACKSHOT_CONCURRENCY", "8")
    settings = load_settings()
    assert (settings.concurrency, settings.s3_bucket) == (8, "file")
    assert load_settings(concurrency=9).concurrency == 9


def test_another_env_file_can_be_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PACKSHOT_S3_BUCKET=usual\nPACKSHOT_CONCURRENCY=7\n")
    (tmp_path / "demo.env").write_text("PACKSHOT_S3_BUCKET=demo\n")
    monkeypatch.setenv(ENV_FILE, str(tmp_path / "demo.env"))
    settings = load_settings()
    assert (settings.s3_bucket, settings.concurrency) == ("demo", 5)


def test_a_named_env_file_must_be_there_and_readable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert refused(monkeypatch, **{ENV_FILE: "/nowhere/x.env"}) == f"{ENV_FILE}=/nowhere/x.env: there is no such file"
    (tmp_path / "x.env").write_bytes(b"PACKSHOT_S3_BUCKET=\xff\xfe\n")
    assert "x.env is not UTF-8" in refused(monkeypatch, **{ENV_FILE: str(tmp_path / "x.env")})


@pytest.mark.parametrize("name", list(Settings.model_fields))
def test_an_empty_value_means_not_set(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Compose files and templates write VARIABLE= for what nobody set."""
    monkeypatch.setenv(PREFIX + name.upper(), "")
    assert getattr(load_settings(), name) == getattr(Settings(_env_file=None), name)


# --- values that cannot be used -------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("apiyi_base_url", "api.apiyi.com", "valid URL"),
        ("apiyi_format", "openai", "'images' or 'gemini'"),
        ("apiyi_response", "base64", "'url' or 'b64_json'"),
        ("prices", "{bad", '{"nano-banana-pro": 0.09}'),
        ("prices", "[1]", "valid dictionary"),
        ("concurrency", "0", "greater than or equal to 1"),
        ("concurrency", "501", "less than or equal to 500"),
        ("concurrency", "many", "valid integer"),
        ("connect_timeout", "0", "greater than 0"),
        ("first_byte_timeout", "soon", "valid number"),
        ("first_byte_timeout_4k", "-1", "greater than 0"),
        ("silence_timeout", "nan", "finite"),
        ("stall_grace", "0", "greater than 0"),
        ("total_timeout", "inf", "finite"),
        ("url_lifetime", "0", "greater than 0"),
        ("on_unknown", "always", "'retry' or 'hold'"),
        ("on_refusal", "fail", "'retry' or 'hold'"),
        ("on_no_image", "Retry", "'retry' or 'hold'"),
        ("on_wrong_size", "retry", "'accept' or 'hold'"),
        ("max_tries", "0", "greater than or equal to 1"),
        ("max_tries", "21", "less than or equal to 20"),
        ("max_archive_tries", "51", "less than or equal to 50"),
        ("on_lost", "never", "'retry' or 'hold'"),
        ("failures_before_pause", "1", "greater than or equal to 2"),
        ("pause", "-1", "greater than or equal to 0"),
        ("lease", "0", "greater than or equal to 1"),
        ("drain_timeout", "soon", "valid number"),
        ("max_cost_usd_per_day", "-1", "greater than or equal to 0"),
        ("download_timeout", "0", "greater than 0"),
        ("download_max_bytes", "64MB", "valid integer"),
        ("max_pixels", "0", "greater than 0"),
        ("s3_profile", "minio", "'aws'"),
        ("s3_addressing", "host", "'path' or 'virtual'"),
        ("max_cost_usd", "-1", "greater than or equal to 0"),
        ("max_cost_usd", "ten", "valid decimal"),
        ("max_cost_usd", "nan", "finite"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, allowed: str
) -> None:
    message = refused(monkeypatch, **{PREFIX + name.upper(): value})
    assert message.startswith(f"{PREFIX}{name.upper()}: ")
    assert allowed in message
    assert value in message or name == "prices"


@pytest.mark.parametrize(
    ("name", "value", "read", "allowed"),
    [
        ("prices", '{"m": -1}', "-1", "greater than or equal to 0"),
        ("prices", '{"m": "x"}", ', "", "JSON"),
        ("prices", '{"m": "x"}', "'x'", "valid decimal"),
        ("retry", '{"rate_limitd": {}}', "'rate_limitd'", "no error code"),
        ("retry", '{"rate_limited": {"retries": -1}}', "-1", "greater than or equal to 0"),
        ("retry", '{"timeout": {"retries": 2}}', "", "retries is 0 or 1"),
        ("retry", '{"rate_limited": {"again": 2}}', "2", "Extra inputs"),
        ("backoff", "5,soon", "'soon'", "valid number"),
        ("backoff", "5,-1", "'-1'", "greater than or equal to 0"),
        ("backoff", "5,nan", "'nan'", "finite"),
        ("backoff", ",", "", "at least 1 item"),
    ],
)
def test_a_wrong_part_of_a_value_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, read: str, allowed: str
) -> None:
    message = refused(monkeypatch, **{PREFIX + name.upper(): value})
    assert f"{PREFIX}{name.upper()}: " in message
    assert allowed in message
    assert read in message


def test_all_wrong_values_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    message = refused(monkeypatch, PACKSHOT_CONCURRENCY="x", PACKSHOT_LEASE="y")
    assert "PACKSHOT_CONCURRENCY" in message
    assert "PACKSHOT_LEASE" in message


# --- secrets --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_appears_nowhere(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(PREFIX + name.upper(), SECRET)
    settings = load_settings()
    assert getattr(settings, name).get_secret_value() == SECRET
    for text in (repr(settings), str(settings), str(settings.model_dump()), settings.model_dump_json()):
        assert SECRET not in text
    with pytest.raises(ConfigError) as failure:
        load_settings(**{name: [SECRET]})
    assert SECRET not in str(failure.value)
    assert f"{PREFIX}{name.upper()}" in str(failure.value)
    # Another variable's error does not show it either.
    assert SECRET not in refused(monkeypatch, PACKSHOT_CONCURRENCY="x")
    assert SECRET not in refused(monkeypatch, PACKSHOT_LEASE="1")


def test_passwords_in_addresses_are_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACKSHOT_DATABASE_URL", f"postgresql://me:{SECRET}@db/x")
    settings = load_settings()
    assert SECRET in settings.db_url
    assert SECRET not in repr(settings)
    assert SECRET not in refused(monkeypatch, PACKSHOT_APIYI_BASE_URL=f"http://me:{SECRET}@host:port")


@pytest.mark.parametrize("name", SECRETS)
def test_blanks_around_a_secret_are_dropped(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A key copied with its line end would be refused by the HTTP library, or by the other side."""
    monkeypatch.setenv(PREFIX + name.upper(), f" {SECRET}\n")
    assert getattr(load_settings(), name).get_secret_value() == SECRET
    monkeypatch.setenv(PREFIX + name.upper(), "  ")
    assert getattr(load_settings(), name) is None


def test_the_key_is_asked_for_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="PACKSHOT_APIYI_KEY is not set") as failure:
        load_settings().require_key()
    assert failure.value.code is Code.BAD_KEY
    monkeypatch.setenv("PACKSHOT_APIYI_KEY", SECRET)
    assert load_settings().require_key().get_secret_value() == SECRET


def test_every_missing_storage_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError) as failure:
        load_settings(s3_bucket="b").require_store()
    assert "PACKSHOT_S3_ACCESS_KEY_ID, PACKSHOT_S3_SECRET_ACCESS_KEY" in failure.value.message
    assert "S3_BUCKET" not in failure.value.message
    load_settings(s3_bucket="b", s3_access_key_id="a", s3_secret_access_key="s").require_store()


# --- what follows from values ---------------------------------------------------------------------------------
def test_prices_add_to_ours_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACKSHOT_PRICES", '{"mine": 0.07, "nano-banana-pro": 0.1}')
    settings = load_settings()
    assert settings.price_micro("mine") == 70_000
    assert settings.price_micro("nano-banana-pro") == 100_000
    assert settings.price_micro("gemini-3-pro-image") == 90_000
    with pytest.raises(ConfigError) as failure:
        settings.price_micro("unknown")
    for part in ("'unknown'", "known: ", "mine", "PACKSHOT_PRICES='{\"unknown\": 0.09}'"):
        assert part in failure.value.message


@pytest.mark.parametrize("model", list(DEFAULT_PRICES))
def test_our_prices_are_whole_micro_dollars(model: str) -> None:
    micro = load_settings().price_micro(model)
    assert micro > 0
    assert Decimal(micro) / 1_000_000 == DEFAULT_PRICES[model]


@pytest.mark.parametrize(
    ("values", "model"),
    [
        ({}, "nano-banana-pro"),
        ({"apiyi_format": "gemini"}, "gemini-3-pro-image"),
        ({"apiyi_format": "gemini", "apiyi_model": "x"}, "x"),
    ],
)
def test_the_usual_model_follows_from_the_format(values: dict[str, Any], model: str) -> None:
    assert load_settings(**values).model == model


def test_lists_are_comma_separated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACKSHOT_DOWNLOAD_HOSTS", " .a.com , b.com,")
    monkeypatch.setenv("PACKSHOT_BACKOFF", "1, 2.5")
    settings = load_settings()
    assert settings.download_hosts == (".a.com", "b.com")
    assert settings.backoff == (1.0, 2.5)


def test_addresses_lose_their_outer_slashes() -> None:
    settings = load_settings(
        apiyi_base_url="http://api.apiyi.com:16888/", s3_prefix="/a/b/", s3_public_base_url="https://c/d/"
    )
    assert settings.base_url == "http://api.apiyi.com:16888"
    assert (settings.s3_prefix, settings.s3_public_base_url) == ("a/b", "https://c/d")


@pytest.mark.parametrize(
    ("url", "plain"),
    [
        ("http://api.apiyi.com:16888", True),
        ("https://api.apiyi.com", False),
        ("http://127.0.0.1:9", False),
        ("http://localhost:9", False),
        ("http://[::1]:9", False),
    ],
)
def test_a_key_in_clear_is_noticed(url: str, plain: bool) -> None:
    assert load_settings(apiyi_base_url=url).plain_http is plain


def test_messages_name_the_store() -> None:
    assert load_settings().store_host == "AWS us-east-1"
    assert load_settings(s3_endpoint_url="https://s3.example:9000/x").store_host == "s3.example:9000"
