"""Generate the Grafana dashboards of the chart: `make dashboards`. With --check, fail if they are not what it makes.

Four questions, a dashboard for each: which cluster of the fleet, what in this cluster, what of this driver, what of this claim.
Each asks the Prometheus that its variable `datasource` names, and limits itself to `cluster`, which a single cluster's series
need not carry. Every query is run against a real Prometheus by tests/integration/test_dashboards.py.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from grafana_foundation_sdk.builders import (
    common,
    dashboard,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as commons
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

FOLDER = Path(__file__).parent / "volumehealth/files/dashboards"
_SOURCE = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
_VERDICTS = {"healthy": "green", "unhealthy": "red", "unknown": "orange", "unmonitored": "gray"}
_WHERE = 'cluster=~"$cluster"'
_CLAIM = f'{_WHERE}, namespace="$namespace", persistentvolumeclaim="$claim"'
_DRIVER = f'{_WHERE}, driver="$driver"'

Panel = Any  # the builders of the SDK share their methods, but no class that names them


def _query(expression: str, legend: str = "", *, table_of: bool = False) -> prometheus.Dataquery:
    query = prometheus.Dataquery().expr(expression).legend_format(legend or "__auto").ref_id("A")
    return query.instant().format(PromQueryFormat.TABLE) if table_of else query.range()


def _panel(panel: Panel, title: str, text: str, width: int, height: int, unit: str) -> Panel:
    panel = panel.title(title).description(text).datasource(_SOURCE).span(width).height(height)
    return panel.unit(unit) if unit else panel


def _stat(
    title: str, text: str, expression: str, *, bad_from: float | None = 1, unit: str = "", width: int = 4
) -> Panel:
    steps = [models.Threshold(value=None, color="green" if bad_from is not None else "blue")]
    if bad_from is not None:
        steps.append(models.Threshold(value=bad_from, color="red"))
    panel = _panel(stat.Panel(), title, text, width, 4, unit)
    return (
        panel.with_target(_query(expression))
        .thresholds(dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps))
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .color_mode(commons.BigValueColorMode.VALUE)
    )


def _lines(
    title: str,
    text: str,
    *queries: tuple[str, str],
    unit: str = "short",
    width: int = 12,
    stacked: bool = False,
) -> Panel:
    panel = _panel(timeseries.Panel(), title, text, width, 8, unit).min(0)
    for number, (expression, legend) in enumerate(queries):
        panel = panel.with_target(_query(expression, legend).ref_id("ABC"[number]))
    for verdict, color in _VERDICTS.items():
        panel = panel.override_by_name(
            verdict, [models.DynamicConfigValue(id_val="color", value={"mode": "fixed", "fixedColor": color})]
        )
    if stacked:
        panel = panel.fill_opacity(40).stacking(common.StackingConfig().mode(commons.StackingMode.NORMAL))
    return panel


def _states(title: str, text: str, expression: str, legend: str, *, width: int = 12) -> Panel:
    panel = _panel(statetimeline.Panel(), title, text, width, 8, "")
    words = models.ValueMap(
        options={
            "0": models.ValueMappingResult(text="no", color="green", index=0),
            "1": models.ValueMappingResult(text="yes", color="red", index=1),
        }
    )
    return panel.with_target(_query(expression, legend)).mappings([words]).row_height(0.8)


def _table(title: str, text: str, expression: str, *, hidden: tuple[str, ...] = (), width: int = 24) -> Panel:
    excluded = dict.fromkeys(
        ("Time", "__name__", "job", "instance", "pod", "container", "endpoint", *hidden), True
    )
    organize = models.DataTransformerConfig(id_val="organize", options={"excludeByName": excluded})
    return (
        _panel(table.Panel(), title, text, width, 9, "")
        .with_target(_query(expression, table_of=True))
        .with_transformation(organize)
    )


def _variable(name: str, label: str, values: str, *, several: bool = False) -> dashboard.QueryVariable:
    variable = (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(_SOURCE)
        .query(values)
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
    )
    return variable.multi(True).include_all(True).all_value(".*") if several else variable


def _dashboard(name: str, title: str, text: str, *variables: dashboard.QueryVariable) -> dashboard.Dashboard:
    made = (
        dashboard.Dashboard(f"Volume health / {title}")
        .uid(f"volumehealth-{name}")
        .description(text)
        .tags(["volumehealth"])
        .timezone("browser")
        .refresh("1m")
        .time("now-6h", "now")
        .readonly()
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .link(
            dashboard.DashboardLink("Volume health")
            .type(models.DashboardLinkType.DASHBOARDS)
            .tags(["volumehealth"])
            .as_dropdown(True)
            .include_vars(True)
            .keep_time(True)
        )
        .with_variable(dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
        .with_variable(
            _variable("cluster", "Cluster", "label_values(volumehealth_build_info, cluster)", several=True)
        )
    )
    for variable in variables:
        made = made.with_variable(variable)
    return made


def fleet() -> dashboard.Dashboard:
    """All clusters: where is something wrong, and where does nobody look."""
    claims = f"volumehealth_policy_claims{{{_WHERE}"
    made = _dashboard("fleet", "Fleet", "All clusters: where is something wrong, and what is not watched.")
    panels = (
        _stat("Clusters", "With an operator that is scraped.", f"count(count by (cluster) (volumehealth_build_info{{{_WHERE}}}))", bad_from=None),
        _stat("Unhealthy claims", "In all clusters.", f'sum({claims}, state="unhealthy"}})'),
        _stat("Unknown claims", "A source does not answer.", f'sum({claims}, state="unknown"}})'),
        _stat("Unmonitored claims", "No source can speak of them.", f'sum({claims}, state="unmonitored"}})'),
        _stat("Alerts", "That fire now.", f'count(ALERTS{{alertname=~"VolumeHealth.*", alertstate="firing", {_WHERE}}}) or vector(0)'),
        _stat("Oldest check", "Of any policy. It is late after two intervals.", f"max(time() - volumehealth_policy_last_check_timestamp_seconds{{{_WHERE}}})", bad_from=900, unit="s"),
        _lines("Unhealthy claims by cluster", "", (f'sum by (cluster) ({claims}, state="unhealthy"}})', "{{cluster}}")),
        _lines("Claims that nobody can speak of, by cluster", "Unknown and unmonitored.", (f'sum by (cluster) ({claims}, state=~"unknown|unmonitored"}})', "{{cluster}}")),
        _table("Clusters", "Claims by state.", f'sum by (cluster, state) ({claims}, state!~"ignored|overridden|not_csi"}})', width=12),
        _table("Firing alerts", "Of all clusters.", f'sort_desc(count by (cluster, alertname, severity) (ALERTS{{alertname=~"VolumeHealth.*", alertstate="firing", {_WHERE}}}))', width=12),
        _states("Drivers that do not answer", "", f'max by (cluster, driver) (volumehealth_driver_state{{{_WHERE}, state=~"Unreachable|CircuitOpen"}})', "{{cluster}} {{driver}}"),
        _table("Versions", "Of the operator.", f"count by (cluster, version) (volumehealth_build_info{{{_WHERE}}})", width=12),
    )  # fmt: skip
    return _with(made, *panels)


def cluster() -> dashboard.Dashboard:
    """One cluster: its policies, what is unhealthy, and how the operator does."""
    made = _dashboard(
        "cluster", "Cluster", "One cluster: what is unhealthy, what is not watched, how the operator does."
    )
    claims = f"volumehealth_policy_claims{{{_WHERE}"
    return _with(
        made,
        *(
            _stat(state.capitalize(), "Claims of all policies.", f'sum({claims}, state="{state}"}})', bad_from=1 if state in ("unhealthy", "unknown") else None)
            for state in ("selected", "healthy", "unhealthy", "unknown", "unmonitored")
        ),
        _stat("Agents missing", "Nodes with claims whose agent does not report.", f'sum(volumehealth_policy_agents{{{_WHERE}, state="silent"}})'),
        _table("Unhealthy claims", "Each finding; the worst thousand.", f"volumehealth_claim_unhealthy{{{_WHERE}}}", hidden=("Value",)),
        _lines("Claims by state", "Of all policies.", (f'sum by (state) ({claims}, state=~"healthy|unhealthy|unknown|unmonitored"}})', "{{state}}"), stacked=True),
        _lines("Findings by reason", "", (f"count by (status, reason) (volumehealth_claim_unhealthy{{{_WHERE}}})", "{{status}}/{{reason}}"), stacked=True),
        _lines("Unhealthy claims by driver", "", (f'sum by (driver) (volumehealth_driver_claims{{{_WHERE}, verdict="unhealthy"}})', "{{driver}}")),
        _lines("Findings by node", "As the nodes' agents and Kubernetes see it.", (f"count by (node) (volumehealth_claim_unhealthy{{{_WHERE}}})", "{{node}}")),
        _states("Conditions that are not met", "Of each policy.", f'max by (policy, type) (volumehealth_policy_condition{{{_WHERE}, status="False"}})', "{{policy}} {{type}}"),
        _lines("Agents", "Of nodes with claims.", (f"sum by (state) (volumehealth_policy_agents{{{_WHERE}}})", "{{state}}")),
        _lines("Time since the last check", "By policy.", (f"time() - max by (policy) (volumehealth_policy_last_check_timestamp_seconds{{{_WHERE}}})", "{{policy}}"), unit="s", width=8),
        _lines("Duration of checks", "The slowest twentieth.", (f"histogram_quantile(0.95, sum by (policy, le) (rate(volumehealth_check_duration_seconds_bucket{{{_WHERE}}}[$__rate_interval])))", "{{policy}}"), unit="s", width=8),
        _lines("Writes", "By kind and result.", (f"sum by (kind, result) (rate(volumehealth_writes_total{{{_WHERE}}}[$__rate_interval]))", "{{kind}} {{result}}"), unit="reqps", width=8),
        _lines("Events", "By reason and result.", (f"sum by (reason, result) (rate(volumehealth_events_total{{{_WHERE}}}[$__rate_interval]))", "{{reason}} {{result}}"), unit="reqps", width=8),
        _lines("Writes that wait", "", (f"sum(volumehealth_writes_waiting{{{_WHERE}}})", "waiting"), width=8),
        _lines("Age of the view", "Since the view of the cluster was last known to be current.", (f"max(volumehealth_view_age_seconds{{{_WHERE}}})", "age"), unit="s", width=8),
        _lines("Memory of the operator", "", (f"process_resident_memory_bytes{{{_WHERE}}} and on (instance) volumehealth_build_info", "{{instance}}"), unit="bytes", width=12),
        _lines("Processor of the operator", "Cores.", (f"rate(process_cpu_seconds_total{{{_WHERE}}}[$__rate_interval]) and on (instance) volumehealth_build_info", "{{instance}}"), width=12),
    )  # fmt: skip


def driver() -> dashboard.Dashboard:
    """One driver: does it answer, how fast, and what does it say."""
    calls = f"volumehealth_csi_call_duration_seconds_bucket{{{_DRIVER}}}[$__rate_interval]"
    return _with(
        _dashboard("driver", "Driver", "One CSI driver: does it answer, how fast, and what does it say.",
                   _variable("driver", "Driver", f"label_values(volumehealth_driver_state{{{_WHERE}}}, driver)")),
        *(
            _stat(verdict.capitalize(), "Claims of this driver.", f'sum(volumehealth_driver_claims{{{_DRIVER}, verdict="{verdict}"}})', bad_from=1 if verdict in ("unhealthy", "unknown") else None)
            for verdict in _VERDICTS
        ),
        _stat("Time of a round", "To ask about each volume once; 0 if they are listed.", f"max(volumehealth_driver_round_seconds{{{_DRIVER}}})", bad_from=None, unit="s"),
        _stat("Calls that fail", "Of all calls.", f'sum(rate(volumehealth_csi_call_duration_seconds_count{{{_DRIVER}, code!="OK"}}[$__rate_interval])) / sum(rate(volumehealth_csi_call_duration_seconds_count{{{_DRIVER}}}[$__rate_interval])) or vector(0)', bad_from=0.1, unit="percentunit"),
        _lines("State", "1 for the state that the driver is in.", (f"max by (state) (volumehealth_driver_state{{{_DRIVER}}})", "{{state}}")),
        _lines("Claims by verdict", "", (f"sum by (verdict) (volumehealth_driver_claims{{{_DRIVER}}})", "{{verdict}}"), stacked=True),
        _lines("Findings by reason", "", (f"count by (status, reason) (volumehealth_claim_unhealthy{{{_DRIVER}}})", "{{status}}/{{reason}}")),
        _lines("Findings by node", "Without a node: the controller says it.", (f"count by (node) (volumehealth_claim_unhealthy{{{_DRIVER}}})", "{{node}}")),
        _lines("Calls", "By method and gRPC code.", (f"sum by (method, code) (rate(volumehealth_csi_call_duration_seconds_count{{{_DRIVER}}}[$__rate_interval]))", "{{method}} {{code}}"), unit="reqps"),
        _lines("Duration of calls", "The median and the slowest twentieth.", (f"histogram_quantile(0.5, sum by (method, le) (rate({calls})))", "{{method}} median"), (f"histogram_quantile(0.95, sum by (method, le) (rate({calls})))", "{{method}} 95 %"), unit="s"),
        _table("Unhealthy claims", "Of this driver.", f"volumehealth_claim_unhealthy{{{_DRIVER}}}", hidden=("Value", "driver")),
    )  # fmt: skip


def claim() -> dashboard.Dashboard:
    """One claim: what is said of it, how full it is, how its device does."""

    def numbers(name: str) -> str:
        return f"max by (node) (volumehealth_volume_{name}{{{_CLAIM}}})"

    return _with(
        _dashboard("claim", "Claim", "One claim: what is said of it, how full it is, how its device does. Numbers come from the agent of the node that uses it.",
                   _variable("namespace", "Namespace", f'label_values({{__name__=~"volumehealth_volume_capacity_bytes|volumehealth_claim_unhealthy", {_WHERE}}}, namespace)'),
                   _variable("claim", "Claim", f'label_values({{__name__=~"volumehealth_volume_capacity_bytes|volumehealth_claim_unhealthy", {_WHERE}, namespace="$namespace"}}, persistentvolumeclaim)')),
        _stat("Findings", "What is wrong with it now.", f"count(volumehealth_claim_unhealthy{{{_CLAIM}}}) or vector(0)"),
        _stat("Free", "Of its bytes.", f"100 * min(volumehealth_volume_available_bytes{{{_CLAIM}}} / volumehealth_volume_capacity_bytes{{{_CLAIM}}})", bad_from=None, unit="percent"),
        _stat("Free inodes", "", f"100 * min(volumehealth_volume_available_inodes{{{_CLAIM}}} / volumehealth_volume_capacity_inodes{{{_CLAIM}}})", bad_from=None, unit="percent"),
        _stat("Full in", "If it grows as in the last hours.", f"min(volumehealth_volume_seconds_until_full{{{_CLAIM}}})", bad_from=None, unit="s"),
        _stat("Stalled for", "I/O that waits without any of it being completed.", f"max(volumehealth_volume_io_stalled_seconds{{{_CLAIM}}})", bad_from=30, unit="s"),
        _stat("Device fails", "1 if its devices and paths are not in a good state.", f"1 - min(volumehealth_volume_device_working{{{_CLAIM}}})"),
        _table("Findings", "By source and node.", f"volumehealth_claim_unhealthy{{{_CLAIM}}}", hidden=("Value", "namespace", "persistentvolumeclaim")),
        _lines("Findings over time", "", (f"max by (status, reason, source, node) (volumehealth_claim_unhealthy{{{_CLAIM}}})", "{{status}}/{{reason}} {{source}} {{node}}")),
        _lines("Bytes", "", (numbers("capacity_bytes"), "size"), (f"{numbers('capacity_bytes')} - {numbers('available_bytes')}", "in use"), unit="bytes"),
        _lines("Inodes", "", (numbers("capacity_inodes"), "all"), (f"{numbers('capacity_inodes')} - {numbers('available_inodes')}", "in use")),
        _lines("Latency", "Average of the requests that ended between two looks.", (numbers("io_latency_seconds"), "{{node}}"), unit="s"),
        _lines("I/O that waits", "", (numbers("io_stalled_seconds"), "{{node}}"), unit="s", width=8),
        _lines("Errors", "Of its disks in the kernel log, and of its filesystem.", (numbers("io_errors"), "I/O errors"), (numbers("filesystem_errors"), "filesystem errors"), (numbers("filesystem_warnings"), "filesystem warnings"), width=8),
        _lines("Until it is full", "", (numbers("seconds_until_full"), "{{node}}"), unit="s", width=8),
    )  # fmt: skip


DASHBOARDS: dict[str, Callable[[], dashboard.Dashboard]] = {
    "fleet": fleet,
    "cluster": cluster,
    "driver": driver,
    "claim": claim,
}


def _with(made: dashboard.Dashboard, *panels: Panel) -> dashboard.Dashboard:
    for panel in panels:
        made = made.with_panel(panel)
    return made


def render(name: str) -> str:
    """Write one dashboard as the file that is shipped."""
    return json.dumps(DASHBOARDS[name]().build(), cls=JSONEncoder, indent=1, sort_keys=True) + "\n"


def main() -> int:
    """Write the files, or compare them; 1 if they differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    FOLDER.mkdir(exist_ok=True)
    differ = [
        name
        for name in DASHBOARDS
        if not (file := FOLDER / f"{name}.json").exists() or file.read_text() != render(name)
    ]
    if check:
        if differ:
            print("run make dashboards: not as charts/dashboards.py makes them:", *differ, file=sys.stderr)
        return 1 if differ else 0
    for name in DASHBOARDS:
        (FOLDER / f"{name}.json").write_text(render(name))
    return 0


if __name__ == "__main__":
    sys.exit(main())
