"""Reads deploy/Dockerfile, so that its commands can be run, and looked at, without a container engine."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
_MOUNTS = re.compile(r"--mount=\S+\s+")


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage: the image that it begins with, and its instructions."""

    base: str
    instructions: list[tuple[str, str]] = field(default_factory=list)

    def all(self, name: str) -> list[str]:
        """Return the arguments of each instruction of that name."""
        return [arguments for instruction, arguments in self.instructions if instruction == name]

    @property
    def run(self) -> list[str]:
        """The shell commands, without the mounts."""
        return [_MOUNTS.sub("", command) for command in self.all("RUN")]

    @property
    def env(self) -> dict[str, str]:
        """The variables."""
        return dict(pair.split("=", 1) for pairs in self.all("ENV") for pair in pairs.split())

    @property
    def command(self) -> list[str]:
        """What a container runs."""
        return [str(word) for word in json.loads(self.all("CMD")[-1])]

    @property
    def health(self) -> list[str]:
        """What tells whether a container is healthy."""
        return [str(word) for word in json.loads(self.all("HEALTHCHECK")[-1].partition("CMD ")[2])]


def read(path: Path = ROOT / "deploy/Dockerfile") -> dict[str, Stage]:
    """Return the stages of a Dockerfile by name, in order."""
    text = "".join(line for line in path.read_text(encoding="utf-8").splitlines(True) if not line.startswith("#"))
    stages: dict[str, Stage] = {}
    defaults: dict[str, str] = {}
    for line in re.sub(r"\\\n\s*", "", text).splitlines():
        instruction, _, arguments = line.strip().partition(" ")
        if instruction == "FROM":
            base, _, name = arguments.partition(" AS ")
            stages[name] = Stage(defaults.get(base.strip("${}"), base))
        elif stages and instruction:
            stages[name].instructions.append((instruction, arguments))
        elif instruction == "ARG":
            key, _, value = arguments.partition("=")
            defaults[key] = value
    return stages
