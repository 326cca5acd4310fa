"""The services of docker-compose.yml, run by hand: their own commands and environments, in places apart."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from app.settings import PROJECT_ROOT
from tests.federation.network_places import Place

COMPOSE: dict[str, Any] = yaml.safe_load((PROJECT_ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
NGINX_CONF = (PROJECT_ROOT / "deploy" / "nginx.conf").read_text()


def image_lines(instruction: str) -> str:
    """Return what the Dockerfile says after an instruction, the last time."""
    text = (PROJECT_ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    return [line for line in text.splitlines() if line.startswith(f"{instruction} ")][-1].split(" ", 1)[1]


@dataclass
class Party:
    """The services of one party in its place.

    Attributes
    ----------
    secrets
        Folder of all secrets, as `deploy.make_secrets` wrote it, with addresses of this machine.
    replaced
        What stands in the compose file -> what it is here: host names, networks and ports.
    """

    place: Place
    folder: Path
    secrets: Path
    replaced: Mapping[str, str]
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def environment(self, service: str, data: Path) -> dict[str, str]:
        """Return the environment that the image and the compose file give a service, and nothing else."""
        image = dict(re.findall(r"(\w+)=(\S*)", image_lines("ENV")))
        given = {**image, **{name: str(value) for name, value in SERVICES[service]["environment"].items()}}
        given = {name: self._here(service, value, data) for name, value in given.items()}
        here = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HOME": str(data)}
        return {**given, **here, "LANG": "C.UTF-8"}

    def command(self, service: str, data: Path, port: int | None = None) -> list[str]:
        """Return the service's command behind the image's entry point."""
        entry = yaml.safe_load(image_lines("ENTRYPOINT"))
        words = [
            sys.executable if word == "python" else word for word in (*entry, *SERVICES[service]["command"])
        ]
        return [str(port) if word == "8501" else self._here(service, word, data) for word in words]

    def _here(self, service: str, text: str, data: Path) -> str:
        for secret in SERVICES[service].get("secrets", []):
            source = COMPOSE["secrets"][secret]["file"].split("}/", 1)[1]
            text = re.sub(rf"^/run/secrets/{secret}$", str(self.secrets / source), text)
        text = re.sub(r"^/data", str(data), text)
        text = re.sub(r"\$\{FEDCOST_DOMAIN[^}]*\}", self.replaced["domain"], text)
        for old, new in self.replaced.items():
            text = text.replace(old, new)
        return text

    def start(self, service: str, *, port: int | None = None, name: str = "") -> subprocess.Popen[bytes]:
        """Start a service."""
        data = self.folder / (name or service)
        data.mkdir(parents=True, exist_ok=True)
        with (data / "output.log").open("ab") as log, self.place.inside():
            process = subprocess.Popen(
                self.command(service, data, port),
                env=self.environment(service, data),
                cwd=PROJECT_ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.running.append(process)
        return process

    def output(self, name: str) -> str:
        """Return what a service has written."""
        return (self.folder / name / "output.log").read_text()

    def once(self, service: str) -> None:
        """Run a service that ends by itself."""
        code = self.start(service).wait(300)
        assert code == 0, self.output(service)

    def start_proxy(self, service: str, webs: list[int], port: int) -> subprocess.Popen[bytes]:
        """Start nginx with the configuration of the compose file, after it has checked it."""
        folder = self.folder / service
        folder.mkdir(parents=True)
        secrets = {one["target"]: one["source"] for one in SERVICES[service]["secrets"]}
        text = NGINX_CONF.replace("/tmp/", f"{folder}/")
        for target, source in secrets.items():
            file = COMPOSE["secrets"][source]["file"].split("}/", 1)[1]
            text = text.replace(f"/run/secrets/{target}", str(self.secrets / file))
        line = next(line for line in text.splitlines() if "server web:8501" in line)
        text = text.replace(line, "\n".join(line.replace("web:8501", f"127.0.0.1:{web}") for web in webs))
        text = text.replace("listen 8443 ssl", f"listen {self.place.address}:{port} ssl")
        # For the tests: which process answered.
        text = text.replace(
            "add_header Strict",
            "add_header X-Answered-By $upstream_addr always;\n        add_header Strict",
            1,
        )
        configuration = folder / "nginx.conf"
        configuration.write_text(text)
        command = [
            str(configuration) if word == "/etc/fedcost/nginx.conf" else word
            for word in SERVICES[service]["command"]
        ]
        if os.geteuid() == 0:  # the folders of a test are closed to others
            command[-1] += " user root;"
        with self.place.inside():
            checked = subprocess.run([*command, "-t"], capture_output=True, text=True, timeout=30)
        assert checked.returncode == 0, checked.stderr
        with (folder / "output.log").open("ab") as log, self.place.inside():
            process = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
            )
        self.running.append(process)
        return process

    def stop(self) -> None:
        """End everything that was started."""
        for process in self.running:
            process.terminate()
        for process in self.running:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
