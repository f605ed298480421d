#!/bin/sh
# Prints what the package needs to run, with all its extras but those of developers: requirements.sh pyproject.toml
exec python3 - "$1" <<'PYTHON'
import sys
import tomllib

with open(sys.argv[1], "rb") as file:
    project = tomllib.load(file)["project"]
extras = project.get("optional-dependencies", {})
wanted = [*project["dependencies"], *(one for name, more in extras.items() if name != "dev" for one in more)]
print(*(one for one in wanted if not one.startswith(project["name"])), sep="\n")
PYTHON
