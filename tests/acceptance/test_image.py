"""The container, built and started for real where no Docker engine is: buildah on a base made by debootstrap."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import randrange
from typing import Any
from urllib.request import urlopen

import pytest

ROOT = Path(__file__).parents[2]
SUITE = "bookworm"
PACKAGES = "python3,python3-venv,ca-certificates"
# A minute to make and the same every time, so it outlives the run; the name says what is in it.
BASE = Path("/var/tmp") / f"heartbeat-base-{SUITE}-{PACKAGES.replace(',', '-')}.tar"
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"

pytestmark = [
    pytest.mark.system("buildah", "debootstrap"),
    pytest.mark.skipif(os.geteuid() != 0, reason="building without an engine needs root"),
    pytest.mark.timeout(900),  # debootstrap and pip, once
]

# What a container engine does with --read-only and --user, as far as the daemon can tell. The arguments: the image's
# root, the volume, the configuration, the user; then the environment and the command.
START = """
set -e
root=$1 volume=$2 config=$3 user=$4; shift 4
mount --bind "$root" "$root"
mount -o remount,ro,bind "$root"
mount --bind "$volume" "$root/var/lib/heartbeat"
mount --bind "$config" "$root/etc/heartbeat"
mount --rbind /dev "$root/dev"
mount -t proc proc "$root/proc"
cd "$root/var/lib/heartbeat"
exec chroot --userspec="$user" "$root" env -i "$@"
"""


@dataclass(frozen=True, slots=True)
class Image:
    root: Path
    """Where its files are mounted."""
    config: Mapping[str, Any]
    """What the image says of itself, in Docker's words."""
    user: int
    """As a platform gives it that makes one up: no name, no home, group 0."""

    def command(self, volume: Path, config: Path, environ: Mapping[str, str], *command: str) -> list[str]:
        """Return what runs a command as a container would: on a read-only root with a volume, without rights."""
        variables = [*self.config["Env"], *(f"{name}={value}" for name, value in environ.items())]
        start = ["unshare", "--mount", "--propagation", "private", "sh", "-c", START, "start"]
        return [*start, str(self.root), str(volume), str(config), f"{self.user}:0", *variables, *command]


def run(*command: str | Path, environ: Mapping[str, str] | None = None, cwd: Path | None = None) -> str:
    done = subprocess.run(
        [*map(str, command)],
        env=environ,
        cwd=cwd,
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, (
        f"{command} ended with {done.returncode}:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    )
    return done.stdout


def mirror() -> list[str]:
    """Return where this machine gets its Debian packages from; nothing, which leaves it to debootstrap, if unknown."""
    template = "$(CODENAME) $(COMPONENT) $(REPO_URI)"
    lines = run("apt-get", "indextargets", "--format", template, "Created-By: Packages").splitlines()
    return [uri for codename, component, uri in map(str.split, lines) if (codename, component) == (SUITE, "main")][:1]


def make_base(folder: Path) -> None:
    if BASE.exists():
        return
    run("debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, folder, *mirror())
    made = BASE.with_suffix(f".{os.getpid()}")
    run(
        "tar",
        "--numeric-owner",
        "--exclude=./var/cache/apt",
        "--exclude=./var/lib/apt/lists",
        "-C",
        folder,
        "-cf",
        made,
        ".",
    )
    made.rename(BASE)
    shutil.rmtree(folder)


def pip_configuration(folder: Path) -> list[str]:
    """Return the mounts with which pip inside the build reaches what pip reaches outside."""
    listed = run(sys.executable, "-m", "pip", "config", "list", cwd=folder)
    pairs = [line.split("=", 1) for line in listed.splitlines() if "=" in line]
    settings = {name.rpartition(".")[2]: value.strip("'\"") for name, value in pairs}
    kept = {
        name: settings[name] for name in ("index-url", "extra-index-url", "trusted-host", "proxy") if name in settings
    }
    # What lies on this machine's own disk is not there inside, and every hash that is asked for is in the index.
    lines = [f"{name} = {value}" for name, value in kept.items() if "file:" not in value]
    authorities = settings.get("cert") or ssl.get_default_verify_paths().cafile or CERTIFICATES
    written = folder / "pip.conf"
    written.write_text("\n".join(["[global]", f"cert = {CERTIFICATES}", *lines, ""]))
    return ["--volume", f"{written}:/etc/pip.conf:ro", "--volume", f"{Path(authorities).resolve()}:{CERTIFICATES}:ro"]


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An image store of our own: no other program knows of it, and nothing of it stays."""
    folder = tmp_path_factory.mktemp("image")
    text = f'[storage]\ndriver = "vfs"\ngraphroot = "{folder}/graph"\nrunroot = "{folder}/run"\n'
    (folder / "storage.conf").write_text(text)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def image(storage: Path) -> Iterator[Image]:
    """The image as `make image` builds it."""
    environ = os.environ | {"CONTAINERS_STORAGE_CONF": str(storage / "storage.conf"), "BUILDAH_ISOLATION": "chroot"}

    def buildah(*arguments: str | Path) -> str:
        return run("buildah", *arguments, environ=environ).strip()

    make_base(storage / "base")
    container = buildah("from", "scratch")
    buildah("add", "--quiet", container, BASE, "/")
    buildah("commit", "--quiet", "--rm", container, "heartbeat-base")
    flags = " ".join(pip_configuration(storage))
    run("make", "image", "BUILDER=buildah", "BASE=heartbeat-base", f"BUILD_FLAGS={flags}", environ=environ, cwd=ROOT)
    config = json.loads(buildah("inspect", "--type", "image", "heartbeat"))["Docker"]["config"]
    root = Path(buildah("mount", buildah("from", "heartbeat")))
    yield Image(root, config, user=randrange(100_000, 200_000))
    buildah("rm", "--all")


@pytest.fixture
def volume(tmp_path: Path, image: Image) -> Path:
    """A fresh volume: engines copy what the image has in its place, the owner and the mode with it."""
    folder = tmp_path / "volume"
    folder.mkdir()
    shutil.copystat(image.root / "var/lib/heartbeat", folder)
    owner = (image.root / "var/lib/heartbeat").stat()
    os.chown(folder, owner.st_uid, owner.st_gid)
    return folder


CONFIG = """
store: ${HEARTBEAT_STORE}
control: ${HEARTBEAT_CONTROL}
web: {listen: "${HEARTBEAT_LISTEN}"}
plugins: [/etc/heartbeat/checks.d]
checks:
  bundled: {every: 1s, http: {url: "http://127.0.0.1:PORT/-/healthy"}}
  own: {every: 1s, truth: {}}
"""

PLUGIN = """
from heartbeat import Check, Probe

class Truth(Check):
    \"\"\"Find one and one to be two.\"\"\"

    async def run(self, probe: Probe) -> None:
        probe.record("sum", 1 + 1)
"""


@pytest.fixture
def configured(tmp_path: Path, port: int) -> Path:
    """What an operator mounts at /etc/heartbeat: a configuration and a plugin of their own."""
    folder = tmp_path / "config"
    (folder / "checks.d").mkdir(parents=True)
    (folder / "checks.d/truth.py").write_text(PLUGIN)
    (folder / "config.yaml").write_text(CONFIG.replace("PORT", str(port)))
    return folder


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextlib.contextmanager
def started(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with (
        log.open("wb") as output,
        subprocess.Popen(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


def wait_until(truth: Callable[[], bool], process: subprocess.Popen[bytes], log: Path, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not truth():
        assert process.poll() is None, f"the container stopped:\n{log.read_text()}"
        assert time.monotonic() < end, f"not within {seconds:g} s:\n{log.read_text()}"
        time.sleep(0.2)


def up(check: str, port: int) -> bool:
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        page = answer.read().decode()
    return re.search(rf'^heartbeat_check_up{{[^}}]*check="{check}"[^}}]*}} 1$', page, re.MULTILINE) is not None


def healthy(command: list[str]) -> bool:
    return subprocess.run(command, check=False, capture_output=True, timeout=60).returncode == 0


def test_the_container_turns_healthy_with_a_random_user_and_a_read_only_root(
    image: Image, volume: Path, configured: Path, port: int, tmp_path: Path
) -> None:
    environ = {"HEARTBEAT_LISTEN": f"127.0.0.1:{port}"}
    kind, *probe = image.config["Healthcheck"]["Test"]
    health = image.command(volume, configured, environ, *probe)
    log = tmp_path / "log"
    assert kind == "CMD"
    assert not healthy(health), "healthy before it was started"
    with started(image.command(volume, configured, environ, *image.config["Cmd"]), log) as daemon:
        wait_until(lambda: healthy(health), daemon, log)
        wait_until(lambda: up("bundled", port) and up("own", port), daemon, log)
        daemon.send_signal(getattr(signal, image.config["StopSignal"]))
        assert daemon.wait(timeout=30) == 0, log.read_text()
    assert {file.stat().st_uid for file in volume.iterdir()} == {image.user}


def test_without_a_configuration_it_says_where_one_is_wanted(image: Image, volume: Path, tmp_path: Path) -> None:
    (nothing := tmp_path / "nothing").mkdir()
    done = subprocess.run(image.command(volume, nothing, {}, *image.config["Cmd"]), check=False, capture_output=True)
    assert done.returncode == 78
    assert b"/etc/heartbeat/config.yaml" in done.stderr


def test_the_example_in_the_image_is_valid_there(image: Image, volume: Path, configured: Path) -> None:
    shutil.copy(image.root / "etc/heartbeat/config.example.yaml", configured)
    shutil.copytree(image.root / "etc/heartbeat/examples", configured / "examples")
    validate = ("heartbeat", "validate", "-c", "/etc/heartbeat/config.example.yaml")
    done = subprocess.run(image.command(volume, configured, {}, *validate), check=False, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()


def test_the_root_is_really_read_only_and_the_user_really_has_no_rights(
    image: Image, volume: Path, tmp_path: Path
) -> None:
    writing = image.command(volume, tmp_path, {}, "sh", "-c", "touch /var/lib/heartbeat/may; touch /opt/heartbeat/no")
    done = subprocess.run(writing, check=False, capture_output=True, text=True)
    assert "Read-only file system" in done.stderr
    assert (volume / "may").stat().st_uid == image.user


def test_the_image_runs_one_process_without_root_over_one_volume(image: Image) -> None:
    assert image.config["User"] == "65532:0"
    assert image.config["Cmd"] == ["heartbeat", "run", "-c", "/etc/heartbeat/config.yaml"]
    assert list(image.config["Volumes"]) == ["/var/lib/heartbeat"]
    assert (image.root / "etc/heartbeat/checks.d").is_dir()
    assert (image.root / "etc/heartbeat/config.example.yaml").is_file()


def test_what_only_the_build_needs_is_not_in_the_image(image: Image) -> None:
    libraries = next((image.root / "opt/heartbeat/lib").glob("python3*/site-packages"))
    names = {path.name.lower() for path in libraries.iterdir()}
    assert {"heartbeat", "pydantic", "dns"} <= names
    assert not names & {"pip", "hatchling", "pytest", "aiosmtpd"}
    assert sorted(path.name for path in (libraries / "heartbeat/_checks").glob("*.py")) == sorted(
        path.name for path in (ROOT / "checks").glob("*.py")
    )
