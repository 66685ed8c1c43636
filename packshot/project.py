"""The project's folder: flows/ and tasks/ lie beside the package, in a checkout or an image."""

from __future__ import annotations

import os
from pathlib import Path

from packshot.errors import Code, ConfigError


def enter_project() -> dict[str, str]:
    """Go to the project's folder on this machine: the pull step of deployments/prefect.yaml.

    Prefect runs it in the flow's process before it loads the flow, and takes ``directory`` as the place to load from.

    Raises:
        ConfigError: PROJECT_MISSING: this packshot was installed without its project.
    """
    root = Path(__file__).resolve().parents[1]
    if not (root / "flows" / "catalog_imaging.py").is_file():
        raise ConfigError(
            Code.PROJECT_MISSING,
            f"this worker's packshot is in {root}, which holds no flows/: install it from a checkout, which is what "
            "`make deploy` and deployments/Dockerfile do, and start the worker from that environment",
        )
    os.chdir(root)
    return {"directory": str(root)}
