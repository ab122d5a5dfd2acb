"""Settings come from flags, then the environment, then the defaults; a wrong one is named; the docs list them all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from secateur.cli import main
from secateur.models.errors import InputError
from secateur.service.flags import add_flags, flag, read_settings, unknown_variables, variable, with_table
from secateur.service.settings import ModelSettings, Settings

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs/operations.md"


def settings_of(*arguments: str) -> Settings:
    import argparse

    parser = argparse.ArgumentParser()
    add_flags(parser)
    return read_settings(parser.parse_args(arguments))


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


def test_every_setting_but_the_secret_ones_has_a_flag(monkeypatch: pytest.MonkeyPatch) -> None:
    import argparse

    parser = argparse.ArgumentParser()
    add_flags(parser)
    flags = {option for action in parser._actions for option in action.option_strings}
    assert {flag(name) for name in Settings.model_fields} - flags == {"--api-keys"}
    monkeypatch.setenv("SECATEUR_API_KEYS", "alpha, beta")
    settings = settings_of()
    assert [key.get_secret_value() for key in settings.api_keys] == ["alpha", "beta"]
    assert "alpha" not in repr(settings)
    with pytest.raises(SystemExit):
        settings_of("--api-keys", "three")  # nor is it taken for the start of --api-keys-file


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
        ("port", "tcp://10.0.0.1:8080", "tcp://10.0.0.1:8080 cannot be used"),
        ("backend", "tpu", "'auto', 'openvino', 'onnx' or 'torch'"),
        ("rate_limit", "often", "600/minute"),
        ("otlp_endpoint", "collector:4318", "http://"),
        ("models", "[", "[ cannot be used"),
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


def test_the_documented_table_is_fresh() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert with_table(text) == text
    for name in Settings.model_fields:
        assert f"| `{variable(name)}` |" in text
    with pytest.raises(InputError, match="settings:begin"):
        with_table("no markers")
