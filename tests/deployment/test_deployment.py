"""What is deployed fits together: the image runs as nobody special, no file holds a secret, what is named exists."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from chandlery.cli.exits import ExitCode
from chandlery.setting_sources import variable_name
from chandlery.settings import KEYS
from deployment.deployed import DEPLOY, ROOT, alerts, panels, read_yaml

FILES = [path for path in DEPLOY.rglob("*") if path.is_file() and "secrets" not in path.parts]
INSTRUCTIONS = re.findall(r"^([A-Z]+) (.*)$", (DEPLOY / "Containerfile").read_text().replace("\\\n", " "), re.MULTILINE)
VARIABLES = {variable_name(key) for key in KEYS}
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))


def arguments(instruction: str) -> list[str]:
    return [given.strip() for name, given in INSTRUCTIONS if name == instruction]


def test_the_image_runs_as_a_user_without_rights_and_says_whether_it_lives() -> None:
    last_stage = [name for name, _ in INSTRUCTIONS][::-1]
    assert last_stage.index("USER") < last_stage.index("FROM")
    assert arguments("USER") == ["10001:10001"]
    assert arguments("HEALTHCHECK")
    assert all(re.search(r":\d", image) for image in arguments("FROM")), "a base image without a version"


def test_the_image_is_made_of_what_exists_and_of_nothing_that_is_ignored() -> None:
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {source for given in arguments("COPY") if not given.startswith("--from") for source in given.split()[:-1]}
    assert copied == kept
    assert all((ROOT / source).exists() for source in copied)


def test_the_services_know_one_another_their_volumes_networks_and_secrets() -> None:
    compose = read_yaml("compose.yaml")
    assert set(compose["services"]) == {"postgres", "collector", "prometheus", "grafana"}
    for service in compose["services"].values():
        assert set(service.get("depends_on", {})) <= set(compose["services"])
        assert set(service["networks"]) <= set(compose["networks"])
        assert set(service.get("secrets", [])) <= set(compose["secrets"])
        for source, *_ in (volume.split(":") for volume in service.get("volumes", [])):
            assert source in compose["volumes"] or (DEPLOY / source).is_dir(), source
    assert (DEPLOY / compose["services"]["collector"]["build"]["context"]).resolve() == ROOT
    assert (ROOT / compose["services"]["collector"]["build"]["dockerfile"]).exists()


def test_nothing_is_open_to_the_network_and_every_image_has_a_version() -> None:
    services = read_yaml("compose.yaml")["services"]
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)
    assert all(re.search(r":v?\d", service["image"]) for service in services.values() if "image" in service)


def test_the_settings_of_the_containers_exist() -> None:
    environment = read_yaml("compose.yaml")["services"]["collector"]["environment"]
    of_image = re.findall(r"(CHANDLERY_\w+)=", " ".join(arguments("ENV")))
    assert {*environment, *of_image} <= VARIABLES


def test_what_the_compose_file_takes_from_the_environment_are_settings_too() -> None:
    """Any other variable of such a name is refused by every command of whoever exports it."""
    taken = re.findall(r"\$\{(CHANDLERY_\w+)", (DEPLOY / "compose.yaml").read_text())
    assert taken
    assert set(taken) <= VARIABLES
    said = (ROOT / "docs" / "scheduling.md").read_text()
    assert all(f"`{name}`" in said for name in taken)


def test_the_collector_may_write_backups_into_a_volume_that_its_user_owns() -> None:
    """All else is read-only. An empty volume takes the owner of the image's folder at its place."""
    collector = read_yaml("compose.yaml")["services"]["collector"]
    [(_, place)] = [volume.split(":") for volume in collector["volumes"]]
    assert collector["read_only"]
    assert Path(collector["environment"]["CHANDLERY_BACKUP_FOLDER"]).is_relative_to(place)
    assert any(f"--home-dir {place} --create-home" in given for given in arguments("RUN"))


def test_prometheus_scrapes_the_port_that_the_collector_serves() -> None:
    [job] = read_yaml("prometheus/prometheus.yml")["scrape_configs"]
    port = read_yaml("compose.yaml")["services"]["collector"]["command"][-1]
    assert job["static_configs"] == [{"targets": [f"collector:{port}"]}]
    assert arguments("EXPOSE") == [port]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(DEPLOY)))
def test_no_file_holds_a_secret(path: Path) -> None:
    text = path.read_text()
    assert not re.search(r"(?i)(password|token|secret)\w*[ \t]*[:=][ \t]*(?!/run/secrets/|file:|\[)[^\s#{]", text), path
    assert not re.search(r"://\w+:[^@/\s]+@", text)


def test_the_secrets_themselves_are_never_committed() -> None:
    ignored = subprocess.run(
        ["git", "check-ignore", "deploy/secrets/database_password"], cwd=ROOT, capture_output=True, check=False
    )
    assert ignored.returncode in (0, 128), "deploy/secrets is not ignored"  # 128: this is no clone


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: rule["alert"])
def test_every_alert_leads_to_what_to_do(rule: dict[str, dict[str, str]]) -> None:
    page, _, anchor = rule["annotations"]["runbook"].partition("#")
    headings = re.findall(r"^#+ (.*)$", (ROOT / page).read_text(), re.MULTILINE)
    assert anchor in {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert rule["annotations"]["summary"]
    assert rule["labels"]["severity"] in ("critical", "warning")


def test_every_panel_has_a_title_a_unit_and_a_place_of_its_own() -> None:
    places = [tuple(panel["gridPos"].values()) for panel in panels()]
    assert len(set(places)) == len(places)
    assert all(panel["title"] and panel["fieldConfig"]["defaults"]["unit"] for panel in panels())
    [source] = read_yaml("grafana/provisioning/datasources/prometheus.yml")["datasources"]
    assert {panel["datasource"]["uid"] for panel in panels()} == {source["uid"]}


@pytest.mark.skipif(
    shutil.which("promtool") is None,
    reason="there is no promtool on this machine, which comes with Prometheus; on Debian: apt-get install prometheus",
)
@pytest.mark.parametrize(
    "arguments",
    [
        ["check", "rules", DEPLOY / "prometheus" / "alerts.yml"],
        ["check", "config", DEPLOY / "prometheus" / "prometheus.yml"],
        ["test", "rules", Path(__file__).parent / "alerts_test.yml"],
    ],
    ids=lambda arguments: " ".join(map(str, arguments[:2])),
)
def test_prometheus_accepts_its_files_and_the_alerts_fire_when_they_should(arguments: list[object]) -> None:
    done = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(
    shutil.which("systemd-analyze") is None,
    reason="there is no systemd-analyze on this machine; on Debian: apt-get install systemd",
)
def test_the_units_are_valid(tmp_path: Path) -> None:
    (tmp_path / "environment").touch()
    units = []
    for unit in (DEPLOY / "systemd").iterdir():
        text = (
            unit.read_text().replace("/usr/local/bin/chandlery", "/bin/true").replace("/etc/chandlery", str(tmp_path))
        )
        units.append(tmp_path / unit.name)
        units[-1].write_text(text)
    checked = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True, check=False)
    assert "chandlery" not in checked.stderr, checked.stderr


@pytest.mark.parametrize("unit", [path for path in UNITS if "Restart=" in path.read_text()], ids=lambda path: path.stem)
def test_a_unit_that_made_a_mistake_stays_down(unit: Path) -> None:
    """As the runbook says; what may pass by itself is tried again."""
    lines = unit.read_text().splitlines()
    assert "Restart=on-failure" in lines
    assert f"RestartPreventExitStatus={ExitCode.USAGE.value}" in lines


def test_units_of_the_documentation_look_into_the_same_database_as_those_deployed() -> None:
    """Without the environment file a unit would back up root's own empty database, and report success."""
    shown = [
        text
        for page in (ROOT / "docs").glob("*.md")
        for text in re.findall(r"```ini\n(.*?)```", page.read_text(), re.S)
    ]
    shown = [text for text in shown if "/chandlery " in text]
    assert shown
    for text in [*shown, *(unit.read_text() for unit in UNITS)]:
        assert "\nEnvironmentFile=/etc/chandlery/environment\n" in text


def test_metrics_of_a_run_are_handed_out_of_a_folder_that_others_cannot_enter() -> None:
    """What a service with a user of its own keeps is closed to others, and only such units may name the file."""
    text = (DEPLOY / "systemd" / "chandlery-once.service").read_text()
    [written] = re.findall(r"--metrics-file (\S+)", text)
    copied, moved = (line.split() for line in re.findall(r"^ExecStopPost=-\+/usr/bin/(.*)$", text, re.MULTILINE))
    assert copied[:3] == ["cp", "--no-dereference", written]
    assert moved[:2] == ["mv", copied[3]]
    assert moved[2].endswith(".prom")
    assert not copied[3].endswith(".prom"), "half a file would be read"
    assert str(Path(moved[2]).parent) in (ROOT / "docs" / "scheduling.md").read_text()
    assert "RuntimeDirectoryPreserve" not in text


def test_the_commands_of_the_units_are_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    from typer.main import get_command

    from chandlery.cli.app import app

    for unit in (DEPLOY / "systemd").glob("*.service"):
        [command] = re.findall(r"^ExecStart=/usr/local/bin/chandlery (.*)$", unit.read_text(), re.MULTILINE)
        name, *given = command.split()
        get_command(app).commands[name].make_context(name, given)  # type: ignore[attr-defined]
