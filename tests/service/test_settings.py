"""Settings come from flags, then the environment, then the defaults; a wrong one is named; the docs list them all."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

import pytest

from secateur.cli import main
from secateur.models.errors import InputError
from secateur.service.engines import open_store
from secateur.service.flags import flag, is_secret, parse_settings, unknown_variables, variable
from secateur.service.settings import ModelSettings, Settings

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs/operations.md"


def settings_of(*arguments: str) -> Settings:
    return parse_settings(arguments)


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("SECATEUR_"):
            monkeypatch.delenv(name)


def test_a_flag_goes_before_a_variable_and_that_before_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings_of().port == 8080
    monkeypatch.setenv("SECATEUR_PORT", "9000")
    assert settings_of().port == 9000
    assert settings_of("--port", "9001").port == 9001


def test_every_setting_but_the_secret_ones_has_a_flag(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        settings_of("--help")
    assert end.value.code == 0
    flags = set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
    assert {flag(name) for name in Settings.model_fields} - flags == {"--api-keys", "--redis-password"}
    assert {name for name in Settings.model_fields if is_secret(name)} == {"api_keys", "redis_password"}
    monkeypatch.setenv("SECATEUR_API_KEYS", "alpha, beta")
    settings = settings_of()
    assert [key.get_secret_value() for key in settings.api_keys] == ["alpha", "beta"]
    assert "alpha" not in repr(settings)
    for arguments in (["--api-keys", "three"], ["--api_keys=three"]):
        with pytest.raises(InputError) as caught:
            settings_of(*arguments)
        assert (caught.value.field, "SECATEUR_API_KEYS" in caught.value.hint) == ("--api-keys", True)
        assert "three" not in str(caught.value)
    for unknown in ("--api-key", "--nope", "nope"):  # no short forms
        with pytest.raises(SystemExit) as end:
            settings_of(unknown, "value")
        assert end.value.code == 2


@pytest.mark.parametrize(
    ("arguments", "name", "value"),
    [
        (["--no-warm-up"], "warm_up", False),
        (["--warm-up"], "warm_up", True),
        (["--threads", "3"], "threads", 3),
        (["--cors-origins", "https://a.org,https://b.org"], "cors_origins", ("https://a.org", "https://b.org")),
        (["--cors-origins", '["*"]'], "cors_origins", ("*",)),
        (["--rate-limit", "600/minute"], "rate_limit", "600/minute"),
        (["--receive-timeout-s", "1.5"], "receive_timeout_s", 1.5),
        (
            ["--models", '[{"model": "a", "device": "cpu"}, {"model": "b", "name": "c"}]'],
            "models",
            (ModelSettings(model="a", device="cpu"), ModelSettings(model="b", name="c")),
        ),
    ],
)
def test_flags_and_variables_are_read_alike(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], name: str, value: Any
) -> None:
    assert getattr(settings_of(*arguments), name) == value
    monkeypatch.setenv(variable(name), arguments[1] if len(arguments) > 1 else str(value).lower())
    assert getattr(settings_of(), name) == value


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("port", "70000", "70000 is out of range"),
        ("port", "tcp://10.0.0.1:8080", "tcp://10.0.0.1:8080 is invalid"),
        ("backend", "tpu", "'auto', 'openvino'"),
        ("rate_limit", "often", "600/minute"),
        ("otlp_endpoint", "collector:4318", "http://"),
        ("models", "[", "[ is invalid"),
        ("timeout_ms", "0", "0 is out of range"),
        ("log_format", "xml", "'json' or 'text'"),
    ],
)
def test_a_wrong_value_is_named_with_its_flag_or_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    with pytest.raises(InputError) as by_flag:
        settings_of(f"{flag(name)}={value}")
    monkeypatch.setenv(variable(name), value)
    with pytest.raises(InputError) as by_variable:
        settings_of()
    assert (by_flag.value.field, by_variable.value.field) == (flag(name), variable(name))
    for error in (by_flag.value, by_variable.value):
        assert said in str(error)
        assert "\n" not in str(error)


def test_a_wrong_part_of_a_model_is_named() -> None:
    with pytest.raises(InputError, match=r"--models\[1\]\.threads: 0 is out of range"):
        settings_of("--models", '[{}, {"threads": 0}]')


def test_a_wrong_secret_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECATEUR_API_KEYS", '["hidden", 5')
    with pytest.raises(InputError) as caught:
        settings_of()
    assert "SECATEUR_API_KEYS" in str(caught.value)
    assert "hidden" not in str(caught.value)


def test_the_command_says_it_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--log-level", "loud"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    with pytest.raises(SystemExit) as end:
        main(["serve", "--help"])
    assert end.value.code == 0
    assert "--max-body-bytes" in capsys.readouterr().out


def test_other_commands_do_not_import_the_settings() -> None:
    code = "import sys, secateur.cli as cli\ntry: cli.main(['--help'])\nexcept SystemExit: pass\n"
    code += "sys.exit('pydantic_settings' in sys.modules or 'fastapi' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, cwd="/").returncode == 0


def test_variables_that_are_no_settings_are_noticed() -> None:
    names = ["SECATEUR_PORT", "SECATEUR_API_KEY", "SECATEUR_SERVICE_HOST", "SECATEUR_PORT_8080_TCP", "PATH"]
    assert unknown_variables(names) == ["SECATEUR_API_KEY"]


def test_every_setting_is_documented() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    for name in Settings.model_fields:
        assert f"| `{variable(name)}` |" in text


@pytest.mark.parametrize("value", ["", ",", " , ", "[]", "\n"])
def test_keys_that_are_set_and_empty_are_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """Whoever sets them does not want an open service."""
    monkeypatch.setenv("SECATEUR_API_KEYS", value)
    with pytest.raises(InputError) as caught:
        settings_of()
    assert caught.value.field == "SECATEUR_API_KEYS"
    assert main(["serve"]) == 2


def test_guarded_metrics_need_keys_to_be_guarded_by(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError) as caught:
        settings_of("--metrics-need-key")
    assert caught.value.field == "--metrics-need-key"
    monkeypatch.setenv("SECATEUR_API_KEYS", "one")
    assert settings_of("--metrics-need-key").metrics_need_key


@pytest.mark.parametrize("value", ["localhost", "10.0.0.0/40", "10.0.0.1/8", "127.0.0.1,::1,proxy"])
def test_proxies_are_addresses(value: str) -> None:
    with pytest.raises(InputError) as caught:
        settings_of("--trusted-proxies", value)
    *good, bad = value.split(",")
    assert (caught.value.field, caught.value.problem) == (f"--trusted-proxies[{len(good)}]", f"{bad} is invalid")


def test_all_bodies_may_have_what_one_may(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings_of().all_bodies_bytes() == 4 * settings_of().max_body_bytes
    assert settings_of("--max-bodies-bytes", "50000000").all_bodies_bytes() == 50_000_000
    with pytest.raises(InputError) as caught:
        settings_of("--max-bodies-bytes", "1000")
    assert caught.value.field == "--max-bodies-bytes"


PASSWORD = "hunter2"


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("cache", f"redis://:{PASSWORD}@localhost"),
        ("cache", f"rediss://user:{PASSWORD}@localhost:6380/0"),
        ("cache", f"redis://localhost?password={PASSWORD}"),
        ("cache", f"redis://[:{PASSWORD}@localhost"),
        ("otlp_endpoint", f"http://user:{PASSWORD}@collector:4318"),
    ],
)
def test_a_password_is_no_flag_and_is_in_no_error(monkeypatch: pytest.MonkeyPatch, name: str, url: str) -> None:
    with pytest.raises(InputError) as caught:
        settings_of(flag(name), url)
    assert caught.value.field == flag(name)
    assert "SECATEUR_" in caught.value.hint
    assert PASSWORD not in str(caught.value)
    monkeypatch.setenv(variable(name), url)
    assert getattr(settings_of(), name) == url


@pytest.mark.parametrize(
    "url",
    [
        f"redis:/:{PASSWORD}@localhost",
        f"postgres://:{PASSWORD}@localhost",
        f":{PASSWORD}@localhost",
        f"redis://:{PASSWORD}@localhost:port",
        f"redis://:a@{PASSWORD}@[localhost",
        f"redis://:{PASSWORD}@localhost?socket_timeout=soon",
    ],
)
def test_a_cache_that_cannot_be_opened_shows_no_password(url: str) -> None:
    settings = Settings(cache=url)
    assert PASSWORD not in repr(settings)
    with pytest.raises(InputError) as caught:
        open_store(settings)
    assert caught.value.field == "cache"
    assert PASSWORD not in "".join(traceback.format_exception(caught.value))


def test_the_password_of_redis_has_a_variable_and_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def password(**given: Any) -> Any:
        store: Any = open_store(Settings(cache="redis://localhost/0", **given))
        return store._client.connection_pool.connection_kwargs.get("password")

    file = tmp_path / "password"
    file.write_text(f"{PASSWORD} \n", encoding="utf-8")
    assert password() is None
    assert password(redis_password_file=file) == f"{PASSWORD} "
    monkeypatch.setenv("SECATEUR_REDIS_PASSWORD", PASSWORD)
    assert password() == PASSWORD
    assert PASSWORD not in repr(Settings()) + Settings().model_dump_json()
    with pytest.raises(InputError, match="redis_password: is given twice"):
        password(redis_password_file=file)
    with pytest.raises(InputError, match="redis_password: is given twice"):
        open_store(Settings(cache=f"redis://:{PASSWORD}@localhost"))
    monkeypatch.delenv("SECATEUR_REDIS_PASSWORD")
    for content in (b"", b"\n", b"\xff"):
        file.write_bytes(content)
        with pytest.raises(InputError) as caught:
            password(redis_password_file=file)
        assert caught.value.field == "redis_password_file"
    with pytest.raises(InputError, match=r"redis_password_file: .* cannot be read"):
        password(redis_password_file=tmp_path / "missing")


def test_secrets_are_in_no_error_of_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    from secateur.service.on_ray import _settings

    for name, value in (("api_keys", [f"{PASSWORD}", 5, {}]), ("redis_password", {"a": PASSWORD})):
        with pytest.raises(InputError) as caught:
            _settings({name: value})
        assert caught.value.field.startswith(f"args.{name}")
        assert PASSWORD not in "".join(traceback.format_exception(caught.value))
