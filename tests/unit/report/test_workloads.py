"""Who is hurt, as people name it."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from support.health import make_pod
from volumehealth.model.cluster import Pod
from volumehealth.report.workloads import owners, workloads


def owned(name: str, owner: str, node: str = "n1", phase: str = "Running") -> Pod:
    return replace(make_pod(name, node=node), owner=owner, phase=phase)


def test_pods_are_told_by_what_runs_them() -> None:
    pods = [
        owned("db-0", "StatefulSet/db", "n1"),
        owned("db-1", "StatefulSet/db", "n2"),
        owned("web-1", "Deployment/web", "n2"),
        owned("waits", "Job/backup", ""),
        owned("done", "Job/old", phase="Succeeded"),
        make_pod("debug", node="n3"),
    ]
    assert workloads(pods) == (
        "StatefulSet/db: 2 Pods on n1, n2",
        "Deployment/web: 1 Pod on n2",
        "Job/backup: 1 Pod",
        "Pod/debug: on n3",
    )
    assert owners(pods) == "Deployment/web, Job/backup, 1 more"
    assert owners([make_pod()]) == ""


@given(
    st.lists(
        st.builds(owned, st.text(max_size=300), st.text(max_size=300), st.text(max_size=300)), max_size=30
    )
)
def test_whatever_their_names_each_line_is_bounded(pods: list[Pod]) -> None:
    assert all(len(line.encode()) <= 200 for line in workloads(pods))
    assert len(owners(pods).encode()) <= 200
