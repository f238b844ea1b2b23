"""`python -m benchmarks [--out FILE] [--only NAME,NAME]`: run the benchmarks and print every ratio beside its peer."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from benchmarks import adapters, ber, campaign, capture, chain, cold, index, ingest, serving, signed
from benchmarks.measure import Figure

BENCHMARKS: dict[str, Callable[[Console], Figure]] = {
    "adapter_rss_mb": adapters.adapter_rss_mb,
    "ber_records_per_s": ber.ber_records_per_s,
    "campaign_tracebacks_per_s": campaign.campaign_tracebacks_per_s,
    "campaign_vs_one_by_one": campaign.campaign_vs_one_by_one,
    "capture_packets_per_s": capture.capture_packets_per_s,
    "capture_with_media_packets_per_s": capture.capture_with_media_packets_per_s,
    "chain10_vs_empty_call": chain.chain10_vs_empty_call,
    "delimited_vs_pyarrow_csv": adapters.delimited_vs_pyarrow_csv,
    "text_records_per_s": adapters.text_records_per_s,
    "batch_1000_vs_postgresql": index.batch_1000_vs_postgresql,
    "batch_100000_vs_postgresql": index.batch_100000_vs_postgresql,
    "single_vs_postgresql": index.single_vs_postgresql,
    "single_vs_sqlite": index.single_vs_sqlite,
    "single_vs_lmdb": index.single_vs_lmdb,
    "ingest_vs_duckdb": ingest.ingest_vs_duckdb,
    "lookup_p99_while_ingesting": ingest.lookup_p99_while_ingesting,
    "bytes_per_call": index.bytes_per_call,
    "cold_faults_per_lookup": cold.cold_faults_per_lookup,
    "grpc_lookup_vs_echo": serving.grpc_lookup_vs_echo,
    "grpc_batch_vs_in_process": serving.grpc_batch_vs_in_process,
    "agent_rss_mb": serving.agent_rss_mb,
    "signed_vs_unsigned": signed.signed_vs_unsigned,
    "signed_batch_lookups_per_s": signed.signed_batch_lookups_per_s,
}


@click.command()
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write {name: {value, unit, peer, runs}}.")
@click.option("--only", help="Names of benchmarks, separated by commas.")
def main(out: Path | None, only: str | None) -> None:
    """Measure hopback against named peers in the same run."""
    names = only.split(",") if only else list(BENCHMARKS)
    if unknown := [name for name in names if name not in BENCHMARKS]:
        raise click.BadParameter(f"no benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    console = Console(file=sys.stderr if not sys.stdout.isatty() else None)
    figures = {name: BENCHMARKS[name](console) for name in names}
    table = Table(title="Benchmarks")
    for heading in ("name", "value", "runs", "against"):
        table.add_column(heading)
    for name, figure in figures.items():
        table.add_row(
            name, f"{figure.value:.2f} {figure.unit}", ", ".join(f"{run:.2f}" for run in figure.runs), figure.peer
        )
    Console().print(table)
    if out is not None:
        out.write_text(json.dumps({name: figure.as_json() for name, figure in figures.items()}, indent=1) + "\n")


if __name__ == "__main__":
    main()
