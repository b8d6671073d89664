"""``simbench schema``: the JSON Schema of scenario files, for editors."""

import json

from simbench.cli._terminal import out


def command() -> None:
    """Print the JSON Schema of scenario files.

    Editors complete and check with it. Put this on the first line of a scenario:
    "# yaml-language-server: $schema=FILE".
    """
    from simbench.scenario import Scenario

    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    out.print(json.dumps({**schema, **Scenario.model_json_schema()}, indent=2))
