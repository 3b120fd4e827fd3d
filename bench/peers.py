"""The peers on the bench: blackbox_exporter scraped by Prometheus, and SimpleMonitor."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from bench.program import Program
from bench.web import answers, free_port, get

MODULES = """
modules:
  http_2xx:
    prober: http
    timeout: 5s
    http:
      preferred_ip_protocol: ip4
{tls}
"""
TLS = """
      tls_config:
        ca_file: {authority}
"""
SCRAPES = """
global: {{scrape_interval: {every}, scrape_timeout: {timeout}}}
scrape_configs:
  - job_name: probes
    metrics_path: /probe
    params: {{module: [http_2xx]}}
    file_sd_configs: [{{files: [{targets}]}}]
    relabel_configs:
      - {{source_labels: [__address__], target_label: __param_target}}
      - {{source_labels: [__param_target], target_label: instance}}
      - {{target_label: __address__, replacement: "127.0.0.1:{exporter}"}}
"""


@dataclass(frozen=True, slots=True)
class Pair:
    """Both of them, with Prometheus' and the exporter's ports."""

    exporter: Program
    prometheus: Program
    exporter_port: int
    port: int

    def cpu(self) -> float:
        """Return the CPU seconds of both."""
        return self.exporter.cpu() + self.prometheus.cpu()

    def memory(self) -> int:
        """Return the resident bytes of both."""
        return self.exporter.memory() + self.prometheus.memory()

    def peak(self) -> int:
        """Return the most resident bytes of each, added."""
        return self.exporter.peak() + self.prometheus.peak()

    def stop(self) -> None:
        """End both at once; what Prometheus would still write down is of no interest."""
        self.exporter.kill()
        self.prometheus.kill()

    def query(self, expression: str) -> list[dict[str, object]]:
        """Ask Prometheus for an instant."""
        answer = json.loads(get(self.port, f"/api/v1/query?query={quote(expression)}"))
        result: list[dict[str, object]] = answer["data"]["result"]
        return result


@contextmanager
def blackbox(folder: Path, authority: Path | None, cores: Sequence[int] | None = None) -> Iterator[tuple[Program, int]]:
    """Run the exporter alone."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    (folder / "blackbox.yml").write_text(
        MODULES.format(tls=TLS.format(authority=authority) if authority else ""), encoding="utf-8"
    )
    command = [
        "prometheus-blackbox-exporter",
        f"--config.file={folder}/blackbox.yml",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=error",
    ]
    with Program(command, folder, name="blackbox", cores=cores) as program:
        program.wait_until(lambda: answers(port, "/-/healthy"))
        yield program, port


@contextmanager
def scraping(folder: Path, every: float, urls: Sequence[str], authority: Path | None) -> Iterator[Pair]:
    """Run both: Prometheus has the exporter probe each URL once per interval (seconds)."""
    with ExitStack() as stack:
        exporter, exporter_port = stack.enter_context(blackbox(folder, authority))
        port = free_port()
        (folder / "targets.json").write_text(json.dumps([{"targets": list(urls)}]), encoding="utf-8")
        scrapes = SCRAPES.format(
            every=f"{every * 1000:g}ms",
            timeout=f"{min(5.0, every) * 1000:g}ms",
            targets=folder / "targets.json",
            exporter=exporter_port,
        )
        (folder / "prometheus.yml").write_text(scrapes, encoding="utf-8")
        command = [
            "prometheus",
            f"--config.file={folder}/prometheus.yml",
            f"--storage.tsdb.path={folder}/tsdb",
            f"--web.listen-address=127.0.0.1:{port}",
            "--log.level=error",
        ]
        prometheus = stack.enter_context(Program(command, folder, name="prometheus"))
        prometheus.wait_until(lambda: answers(port, "/-/ready"))
        yield Pair(exporter, prometheus, exporter_port, port)
