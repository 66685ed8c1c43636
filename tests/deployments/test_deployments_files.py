"""The files of deployments/, read without a server: what they name exists, what they promise is written in them."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import prefect.settings
import pytest
import yaml
from prefect.server.schemas.actions import WorkPoolCreate

from packshot import __version__
from packshot.options import RunOptions
from packshot.sandbox.emulator import main as emulator
from packshot.settings import ENV_FILE, PREFIX, Settings

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deployments"
PREFECT_YAML: dict[str, Any] = yaml.safe_load((FOLDER / "prefect.yaml").read_text("utf-8"))
DEPLOYMENTS: dict[str, dict[str, Any]] = {one["name"]: one for one in PREFECT_YAML["deployments"]}
COMPOSE: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text("utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = [line for line in (FOLDER / "Dockerfile").read_text("utf-8").replace("\\\n", " ").splitlines() if line]
POOLS = sorted((FOLDER / "pools").glob("*.json"))
SANDBOX_ENV = dict(
    line.split("=", 1)
    for line in (FOLDER / "sandbox/sandbox.env").read_text("utf-8").splitlines()
    if line and not line.startswith("#")
)
PINNED = re.compile(r"^[\w./-]+:\d+[\w.-]*(@sha256:[0-9a-f]{64})?$")
PLACEHOLDER = re.compile(r"\{\{\s*([\w.]+)\s*\}\}")
VARIABLE = re.compile(r"\$\{(\w+)(:[-?])?([^}]*)\}")


def text_files() -> list[Path]:
    return [path for path in FOLDER.rglob("*") if path.is_file() and path.suffix not in (".pyc",)]


def instructions(word: str) -> list[str]:
    return [line.removeprefix(word).strip() for line in DOCKERFILE if line.startswith(f"{word} ")]


# --- every file ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("path", text_files(), ids=lambda path: str(path.relative_to(FOLDER)))
def test_every_variable_that_is_named_exists(path: Path) -> None:
    text = path.read_text("utf-8")
    known = {PREFIX + name.upper() for name in Settings.model_fields} | {ENV_FILE}
    assert set(re.findall(rf"\b{PREFIX}[A-Z0-9_]+", text)) - {PREFIX} <= known
    for name in set(re.findall(r"\bPREFECT_[A-Z][A-Z_]+", text)) - {"PREFECT_UNREACHABLE"}:
        assert hasattr(prefect.settings, name), name


@pytest.mark.parametrize("path", text_files(), ids=lambda path: str(path.relative_to(FOLDER)))
def test_no_file_holds_a_secret_but_the_sandboxs_own(path: Path) -> None:
    text = path.read_text("utf-8")
    if path.parent.name == "sandbox":
        text = text.replace("sk-sandbox-key", "").replace("sandbox-only-not-a-secret", "")
    assert not re.search(r"sk-[A-Za-z0-9]{4,}|AKIA[0-9A-Z]{8,}|-----BEGIN|[0-9a-f]{32,}|[A-Za-z0-9+/]{40,}={1,2}", text)


def test_the_sandboxs_secrets_open_the_sandbox_alone() -> None:
    (ours, anybody) = json.loads((FOLDER / "sandbox/s3.json").read_text("utf-8"))["identities"]
    (pair,) = ours["credentials"]
    assert pair["accessKey"] == SANDBOX_ENV["PACKSHOT_S3_ACCESS_KEY_ID"]
    assert pair["secretKey"] == SANDBOX_ENV["PACKSHOT_S3_SECRET_ACCESS_KEY"]
    assert "sandbox-only" in pair["accessKey"]
    assert "sandbox" in SANDBOX_ENV["PACKSHOT_APIYI_KEY"]
    bucket, prefix = SANDBOX_ENV["PACKSHOT_S3_BUCKET"], SANDBOX_ENV["PACKSHOT_S3_PREFIX"]
    assert (anybody["name"], anybody["actions"]) == ("anonymous", [f"Read:{bucket}/{prefix}/*"])


# --- prefect.yaml --------------------------------------------------------------------------------------------------
def test_these_are_deployed() -> None:
    assert {name: one["entrypoint"] for name, one in DEPLOYMENTS.items()} == {
        "on-demand": "flows/catalog_imaging.py:catalog_imaging",
        "nightly": "flows/catalog_imaging.py:catalog_imaging",
        "price-list": "flows/catalog_imaging.py:catalog_imaging",
        "hourly": "flows/rescue.py:rescue",
        "on-a-worker": "flows/image_shard.py:image_shard",
    }
    # A shared-out run would wait for its own shards.
    assert {name for name, one in DEPLOYMENTS.items() if "concurrency_limit" in one} == {"nightly", "hourly"}


def test_what_spends_money_is_switched_off() -> None:
    active = {name for name, one in DEPLOYMENTS.items() if any(s["active"] for s in one.get("schedules", []))}
    assert active == {"hourly"}
    assert "$" not in json.dumps(PREFECT_YAML), "a variable of the machine that deploys would be written down"


def test_every_schedule_says_what_it_does_and_when() -> None:
    slugs = [schedule["slug"] for one in DEPLOYMENTS.values() for schedule in one.get("schedules", [])]
    assert slugs == ["weekdays", "sunday", "mondays", "hourly"]
    for one in DEPLOYMENTS.values():
        assert all("timezone" in schedule for schedule in one.get("schedules", []))


def test_the_parameters_fit_the_form() -> None:
    given = [one.get("parameters", {}) for one in DEPLOYMENTS.values()]
    given += [s.get("parameters", {}) for one in DEPLOYMENTS.values() for s in one.get("schedules", [])]
    options = [RunOptions.model_validate(parameters["options"]) for parameters in given if parameters]
    assert len(options) == 4
    for one in options:
        assert (ROOT / one.catalog).is_file()
        assert one.plan_only or one.max_cost_usd, "a run that nobody watches has a budget"
    # A schedule's parameters take the place of the deployment's, whole.
    weekdays, sunday = (schedule["parameters"]["options"] for schedule in DEPLOYMENTS["nightly"]["schedules"])
    assert weekdays["catalog"] == sunday["catalog"] == DEPLOYMENTS["nightly"]["parameters"]["options"]["catalog"]
    assert weekdays != sunday


def test_every_entrypoint_is_a_flow_in_a_process_of_its_own() -> None:
    code = (
        "import sys\n"
        "from prefect.flows import load_flow_from_entrypoint\n"
        "for entrypoint in sys.argv[1:]:\n"
        "    print(load_flow_from_entrypoint(entrypoint, use_placeholder_flow=False).name)\n"
    )
    entrypoints = [one["entrypoint"] for one in DEPLOYMENTS.values()]
    done = subprocess.run(
        [sys.executable, "-c", code, *entrypoints], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["catalog-imaging"] * 3 + ["rescue", "image-shard"]


def test_the_pull_step_goes_to_the_project(tmp_path: Path) -> None:
    (step,) = PREFECT_YAML["pull"]
    assert step == {"packshot.project.enter_project": {}}
    code = "import os; from packshot.project import enter_project as e; print(e()['directory']); print(os.getcwd())"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(ROOT), str(ROOT)]


def test_a_package_without_its_project_says_so(tmp_path: Path) -> None:
    (tmp_path / "packshot").mkdir()
    for name in ("__init__", "project", "errors"):
        shutil.copy(ROOT / f"packshot/{name}.py", tmp_path / "packshot")
    code = "from packshot.project import enter_project; enter_project()"
    done = subprocess.run([sys.executable, "-S", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "project_missing: this worker's packshot is in" in done.stderr
    assert "install it from a checkout" in done.stderr


# --- work pools ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("path", POOLS, ids=lambda path: path.stem)
def test_a_pool_uses_the_variables_it_declares(path: Path) -> None:
    template = json.loads(path.read_text("utf-8"))
    used = set(PLACEHOLDER.findall(json.dumps(template["job_configuration"]))) | {"env"}
    declared = template["variables"]["properties"]
    assert used == set(declared)
    assert all({"title", "description"} <= set(one) and ("type" in one or "anyOf" in one) for one in declared.values())
    # What the server checks when a pool is made.
    WorkPoolCreate.model_validate({"name": path.stem, "type": path.stem, "base_job_template": template})


def test_there_is_a_pool_of_each_kind() -> None:
    assert [path.stem for path in POOLS] == ["docker", "kubernetes", "process"]


def test_secrets_come_to_a_container_past_prefect() -> None:
    docker = json.loads((FOLDER / "pools/docker.json").read_text("utf-8"))["job_configuration"]
    assert docker["volumes"][0] == f"{{{{ settings_file }}}}:{docker['env'][ENV_FILE]}:ro"
    job = json.loads((FOLDER / "pools/kubernetes.json").read_text("utf-8"))["job_configuration"]["job_manifest"]
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["envFrom"] == [{"secretRef": {"name": "{{ settings_secret }}"}}]
    # What was paid for outlives the pod, at the place that the image has for it.
    (mount,) = container["volumeMounts"]
    assert mount["mountPath"] == instructions("VOLUME")[0]
    assert docker["volumes"][1].endswith(f":{mount['mountPath']}")
    assert "persistentVolumeClaim" in pod["volumes"][0]
    assert container["workingDir"] == instructions("WORKDIR")[0]
    assert pod["securityContext"]["runAsNonRoot"]
    assert f"--uid {pod['securityContext']['runAsUser']} " in instructions("RUN")[0]


@pytest.mark.parametrize("name", ["docker", "kubernetes"])
def test_a_pools_image_is_the_one_that_compose_builds(name: str) -> None:
    variables = json.loads((FOLDER / f"pools/{name}.json").read_text("utf-8"))["variables"]["properties"]
    assert variables["image"]["default"] == COMPOSE["x-packshot"]["image"] == f"packshot:{__version__}"


# --- the image -----------------------------------------------------------------------------------------------------
def test_the_base_is_pinned_and_can_be_pinned_harder() -> None:
    assert instructions("FROM") == ["${BASE}"]
    base = instructions("ARG")[0].removeprefix("BASE=")
    assert PINNED.match(base)
    assert re.match(r"python:3\.1[123]-slim", base)


def test_nobody_in_the_image_is_root() -> None:
    assert instructions("USER") == ["packshot"]
    after = DOCKERFILE[DOCKERFILE.index("USER packshot") :]
    assert not [line for line in after if line.startswith(("RUN", "COPY", "ADD"))]
    assert not [line for line in DOCKERFILE if line.startswith("ADD ")]


def test_what_is_copied_exists_and_is_sent_to_the_builder() -> None:
    patterns = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    assert next(line for line in patterns if not line.startswith("#")) == "*"
    sent = {line.removeprefix("!") for line in patterns if line.startswith("!")}
    copied = {source for line in instructions("COPY") for source in line.split()[:-1]}
    assert copied == sent
    assert all((ROOT / source).exists() for source in copied)
    assert {"flows", "tasks", "packshot", "deployments", "constraints.txt", "prefect.toml"} <= copied
    out = [line for line in patterns if line.startswith("**/")]
    assert all(any(fnmatch(f"a/{name}", line) for line in out) for name in (".env", ".env.local", "own.env"))


def test_the_image_installs_what_was_tested() -> None:
    (install,) = [line for line in instructions("RUN") if "pip install" in line]
    assert "--constraint constraints.txt" in install
    assert "--editable" in install, "the project's folder is found through the package"
    assert not re.search(r"(KEY|SECRET|TOKEN|PASSWORD)", "\n".join(instructions("ENV") + instructions("ARG")))


# --- compose -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", list(SERVICES))
def test_every_service_is_pinned_closed_and_watched(name: str) -> None:
    service = SERVICES[name]
    assert PINNED.match(service["image"])
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    assert not service.get("privileged")
    watched = service["healthcheck"]
    if name == "deploy":  # it ends
        assert watched == {"disable": True}
        assert service["restart"] == "no"
    else:
        assert watched["test"][0] in ("CMD", "CMD-SHELL")
        assert service["restart"] == "unless-stopped"


def test_everything_that_a_service_needs_is_there() -> None:
    volumes = set(COMPOSE["volumes"])
    used: set[str] = set()
    for service in SERVICES.values():
        assert set(service.get("depends_on", {})) <= set(SERVICES)
        if "network_mode" in service:
            assert service["network_mode"].removeprefix("service:") in SERVICES
            assert "ports" not in service, "the port is published where the network is"
        for mount in service.get("volumes", []):
            source, target, *mode = VARIABLE.sub(lambda found: found[3], mount).split(":")
            assert target.startswith("/")
            if source.startswith("."):
                assert (FOLDER / source).exists(), source
                assert mode == ["ro"]
            else:
                used.add(source)
        for file in service.get("env_file", []):
            assert (FOLDER / VARIABLE.sub(lambda found: found[3], file)).is_file()
    assert used == volumes
    build = COMPOSE["x-packshot"]["build"]
    assert (FOLDER / build["context"] / build["dockerfile"]).is_file()


def test_a_missing_password_is_named_not_made_up() -> None:
    variables = {name: mark for name, mark, _ in VARIABLE.findall((FOLDER / "compose.yaml").read_text("utf-8"))}
    assert variables == {"DATABASE_PASSWORD": ":?", "SETTINGS": ":-", "CATALOGS": ":-"}
    assert set(SANDBOX_ENV) - {"DATABASE_PASSWORD"} == {name for name in SANDBOX_ENV if name.startswith(PREFIX)}


def test_the_databases_are_those_that_are_made() -> None:
    made = set(re.findall(r"CREATE DATABASE (\w+);", (FOLDER / "databases.sql").read_text("utf-8")))
    made.add(SERVICES["database"]["environment"]["POSTGRES_DB"])
    urls = [SERVICES["prefect"]["environment"]["PREFECT_SERVER_DATABASE_CONNECTION_URL"]]
    urls.append(SERVICES["worker"]["environment"]["PACKSHOT_DATABASE_URL"])
    assert {url.rpartition("/")[2] for url in urls} == made


def test_the_sandbox_is_where_its_settings_say() -> None:
    assert {name for name, one in SERVICES.items() if one.get("profiles") == ["sandbox"]} == {"emulator", "s3"}
    arguments = SERVICES["emulator"]["command"]
    assert SANDBOX_ENV["PACKSHOT_APIYI_BASE_URL"].endswith(f":{arguments[arguments.index('--port') + 1]}")
    assert arguments[:3] == ["python", "-m", emulator.__module__]
    store = dict(part.removeprefix("-").partition("=")[::2] for part in SERVICES["s3"]["command"])
    assert SANDBOX_ENV["PACKSHOT_S3_ENDPOINT_URL"].endswith(f":{store['s3.port']}")
    assert store["bucket"] == SANDBOX_ENV["PACKSHOT_S3_BUCKET"]
    assert SERVICES["worker"]["ports"] == [f"127.0.0.1:{store['s3.port']}:{store['s3.port']}"]
    values = {name.removeprefix(PREFIX).lower(): value for name, value in SANDBOX_ENV.items() if "PACKSHOT" in name}
    Settings(_env_file=None, **values).require_store()  # type: ignore[arg-type]


def test_compose_starts_commands_that_exist() -> None:
    script = FOLDER / "deploy.sh"
    assert SERVICES["deploy"]["command"] == ["sh", str(script.relative_to(ROOT))]
    assert subprocess.run(["sh", "-n", script], check=False).returncode == 0
    assert "sh deployments/deploy.sh" in (ROOT / "Makefile").read_text("utf-8")
    pool = re.search(r"^pool=(.+)$", script.read_text("utf-8"), re.MULTILINE)
    assert pool
    assert {one["work_pool"]["name"] for one in DEPLOYMENTS.values()} == {pool[1]}
    command = SERVICES["worker"]["command"]
    assert command[command.index("--pool") + 1] == pool[1]


def test_serving_knows_deployments_that_exist() -> None:
    tree = ast.parse((FOLDER / "serve.py").read_text("utf-8"))
    (named,) = [ast.literal_eval(node.value) for node in tree.body
                if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "SERVED"]  # fmt: skip
    assert set(named) == set(DEPLOYMENTS) - {"on-a-worker"}
