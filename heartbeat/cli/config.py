"""The commands about a configuration: ``validate`` and ``schema``."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from heartbeat.check import Check
from heartbeat.cli.common import ConfigOption, OptionalConfig, load_or_complain
from heartbeat.cli.exits import EX_CONFIG
from heartbeat.cli.remarks import FORMATS, Format, Report
from heartbeat.config import ConfigError, load
from heartbeat.config.review import remarks_of, remarks_on
from heartbeat.config.schema import configuration_schema
from heartbeat.plugins import PluginError, discover, load_type

StrictOption = Annotated[bool, typer.Option("--strict", help="Take warnings for mistakes.")]
FormatOption = Annotated[
    Format, typer.Option("--format", help="github: as annotations of a workflow; sarif: for code scanning.")
]
PluginsOption = Annotated[list[Path] | None, typer.Option("--plugins", help="A folder of check types of your own.")]


def validate(config: ConfigOption, *, strict: StrictOption = False, form: FormatOption = Format.TEXT) -> int:
    """Check a configuration and say all that is wrong with it. Nothing is asked of any target.

    Exit codes: 0 it can be used, 78 it cannot; with --strict also 78 where there is a warning.
    """
    try:
        loaded = load(config, os.environ)
        report = Report(config, remarks_on(loaded, config), strict, len(loaded.checks), len(loaded.receivers))
    except ConfigError as error:
        report = Report(config, remarks_of(error), strict)
    FORMATS[form](report)
    return 0 if report.is_good else EX_CONFIG


def schema(config: OptionalConfig = None, *, plugins: PluginsOption = None) -> int:
    """Print the JSON Schema of a configuration, for editors; with -c or --plugins that of your own check types too.

    Keep it in a file, and name that at the top of the configuration:
    # yaml-language-server: $schema=heartbeat.schema.json
    """
    loaded = load_or_complain(config) if config else None
    if config and loaded is None:
        return EX_CONFIG
    found = discover((*(loaded.plugins if loaded else ()), *(plugins or ())))
    faults = list(found.faults)
    kinds: dict[str, type[Check] | None] = {}
    for name, source in sorted(found.sources.items()):
        try:
            kinds[name] = load_type(source)
        except PluginError as error:
            faults.append(error)
            kinds[name] = None
    for fault in faults:
        print(f"{fault.file or 'plugins'}: {fault.sentence}", file=sys.stderr)  # noqa: T201 - a command's output
    print(json.dumps(configuration_schema(kinds), indent=2, ensure_ascii=False))  # noqa: T201 - a command's output
    return EX_CONFIG if any(not fault.missing for fault in faults) else 0
