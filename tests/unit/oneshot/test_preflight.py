"""`preflight`: what can be heard, what blocks more, and the exact next command; before and after the installation."""

from typing import Any

import pytest

from volumehealth.cli.preflight import show_preflight
from volumehealth.oneshot.preflight import ClusterFacts, preflight
from volumehealth.oneshot.workloads import find_controllers, quantity, registered_where

DELL = "csi-powerstore.dellemc.com"
HELM = {"meta.helm.sh/release-name": "vh", "meta.helm.sh/release-namespace": "ops"}


def driver(name: str) -> dict[str, Any]:
    return {"metadata": {"name": name}}


def node(name: str, *drivers: str) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"drivers": [{"name": one} for one in drivers]}}


def volume(name: str) -> dict[str, Any]:
    return {
        "metadata": {"name": "pv"},
        "spec": {"csi": {"driver": name, "volumeHandle": "h"}},
        "status": {"phase": "Bound"},
    }


def controller(
    name: str, *arguments: str, namespace: str = "storage", shared: bool = True, **metadata: Any
) -> dict[str, Any]:
    mounts = [{"name": "socket-dir", "mountPath": "/csi"}]
    containers = [
        {
            "name": "provisioner",
            "image": "registry.example/sig-storage/csi-provisioner:v6",
            "args": list(arguments),
            "volumeMounts": mounts,
        },
        {"name": "driver", "image": "vendor/driver", "volumeMounts": mounts if shared else []},
    ]
    return {
        "metadata": {"namespace": namespace, "name": name} | metadata,
        "spec": {
            "replicas": 2,
            "template": {
                "spec": {
                    "serviceAccountName": f"{name}-sa",
                    "containers": containers,
                    "volumes": [{"name": "socket-dir", "emptyDir": {}}],
                }
            },
        },
    }


def facts(**lists: Any) -> ClusterFacts:
    given = {
        "csinodes": [node("a", DELL), node("b")],
        "csidrivers": [driver(DELL)],
        "volumes": [volume(DELL)],
    }
    return ClusterFacts("v1.37.2", given | lists, admission=("v1",))


def installed(**lists: Any) -> ClusterFacts:
    operator = {
        "metadata": {
            "namespace": "volumehealth-system",
            "name": "volumehealth-operator",
            "labels": {"app.kubernetes.io/name": "volumehealth-operator"},
            "annotations": HELM,
        },
        "spec": {"replicas": 2},
        "status": {"readyReplicas": 2},
    }
    agents = {
        "metadata": {
            "namespace": "volumehealth-agent",
            "name": "volumehealth-agent",
            "labels": {"app.kubernetes.io/name": "volumehealth-agent"},
        },
        "spec": {},
        "status": {"numberReady": 2, "desiredNumberScheduled": 2},
    }
    given = {"deployments": [operator], "daemonsets": [agents], "vhp": [{"metadata": {"name": "all"}}]}
    return facts(**(given | lists))


def test_before_the_installation_it_says_what_to_type_first_and_what_the_driver_will_need() -> None:
    found = preflight(facts(deployments=[controller("ps", f"--driver={DELL}")]))
    assert found.exit_status == 1
    assert found.steps[0].startswith("helm install volumehealth")
    assert "--create-namespace" in found.steps[0]
    (plan,) = found.drivers
    assert plan.today == "nothing: no operator has looked at it"
    assert "controller agent" in plan.more
    assert (plan.claims, plan.nodes, found.nodes) == (1, 1, 2)
    assert "X_CSI_HEALTH_MONITOR_ENABLED is not set in Deployment storage/ps" in plan.blocks[0]


def test_the_next_command_holds_the_controllers_namespace_account_and_socket() -> None:
    found = preflight(
        installed(deployments=[*installed()["deployments"], controller("ps", f"--driver={DELL}")])
    )
    connect, restart = found.steps
    assert '"driver":"csi-powerstore.dellemc.com","namespace":"storage","serviceAccount":"ps-sa"' in connect
    assert '"socketVolume":"socket-dir","inject":true' in connect
    assert restart == "kubectl rollout restart deployment/ps -n storage"
    assert found.drivers[0].steps == (1, 2)


@pytest.mark.parametrize(
    ("arguments", "env"),
    [
        (["--csi-address=unix:///csi/csi-provisioner.sock"], []),
        (["--csi-address=$(ADDRESS)"], [{"name": "ADDRESS", "value": "/csi/csi-provisioner.sock"}]),
    ],
)
def test_the_next_command_names_a_socket_that_is_called_otherwise(
    arguments: list[str], env: list[dict[str, str]]
) -> None:
    found = controller("ps", f"--driver={DELL}", *arguments)
    found["spec"]["template"]["spec"]["containers"][0]["env"] = env
    connect, _ = preflight(installed(deployments=[*installed()["deployments"], found])).steps
    assert '"socketVolume":"socket-dir","socketFile":"csi-provisioner.sock","inject":true' in connect


def test_the_next_command_takes_no_driver_its_agent_away() -> None:
    """Helm replaces a list as a whole: the command for the second driver removed the rights of the first one's agent."""
    heard = {
        "metadata": {"name": "b.example.com"},
        "status": {"state": "Answering", "plugins": {"controller": "Agent"}},
    }
    found = preflight(
        installed(
            vhd=[heard],
            csidrivers=[driver(DELL), driver("b.example.com")],
            deployments=[
                *installed()["deployments"],
                controller("ps", f"--driver={DELL}"),
                controller("b", "--driver=b.example.com"),
            ],
        )
    )
    connect = found.steps[0]
    assert '"driver":"b.example.com","namespace":"storage","serviceAccount":"b-sa"' in connect
    assert f'"driver":"{DELL}"' in connect
    assert connect.endswith("  # it replaces the list: compare with helm get values vh -n ops")


def test_a_release_is_upgraded_by_its_own_name_where_it_is() -> None:
    found = preflight(installed(daemonsets=[], csidrivers=[], csinodes=[], volumes=[]))
    assert found.steps == (
        "helm upgrade vh charts/volumehealth --namespace ops --reuse-values --set agent.enabled=true",
    )


def without_release(cluster: ClusterFacts) -> None:
    """Make it one that kustomize made."""
    for one in cluster["deployments"]:
        one["metadata"].pop("annotations", None)


def test_an_installation_by_kustomize_is_never_told_to_upgrade_a_release() -> None:
    cluster = installed(daemonsets=[], csidrivers=[driver(DELL), driver("b.example.com")])
    without_release(cluster)
    cluster["deployments"].extend(
        [
            controller("ps", f"--driver={DELL}"),
            controller("b", "--driver=b.example.com"),
        ]
    )
    found = preflight(cluster)
    assert "helm" not in " ".join(found.steps)
    assert found.steps[0] == "kubectl apply -k deploy/agent"
    for plan in found.drivers:
        connect, restart = (found.steps[number - 1] for number in plan.steps)
        assert connect.startswith("kubectl apply -k DIRECTORY")
        assert f"driver={plan.name} namespace=storage" in connect
        assert restart.startswith("kubectl rollout restart")


def on_system(image: str) -> dict[str, Any]:
    return {"metadata": {"name": "n"}, "status": {"nodeInfo": {"osImage": image}}}


@pytest.mark.parametrize(
    ("image", "kind", "needed"),
    [
        ("Bottlerocket OS 1.20.0 (aws-k8s-1.30)", "spc_t", "super_t"),
        ("Bottlerocket OS 1.20.0 (aws-k8s-1.30)", "super_t", ""),
        ("Red Hat Enterprise Linux CoreOS 418.94.202410090804-0", "", "spc_t"),
        ("Red Hat Enterprise Linux CoreOS 418.94.202410090804-0", "spc_t", ""),
        ("Debian GNU/Linux 12 (bookworm)", "", ""),
        ("Red Hat Enterprise Linux 9.4 (Plow)", "", ""),  # an administrator may have switched it off
    ],
)
@pytest.mark.parametrize("helm", [True, False])
def test_selinux_is_named_only_where_the_nodes_system_is_known_to_enforce_it(
    image: str, kind: str, needed: str, *, helm: bool
) -> None:
    cluster = installed(nodes=[on_system(image)], csidrivers=[], csinodes=[], volumes=[])
    if not helm:
        without_release(cluster)
    if kind:
        pod = {"securityContext": {"seLinuxOptions": {"type": kind}}}
        cluster["daemonsets"][0]["spec"].update({"template": {"spec": pod}})
    found = preflight(cluster)
    told = [point.text for point in found.points if "SELinux" in point.text]
    if not needed:
        assert (told, found.steps) == ([], ())
        return
    (text,), (step,) = told, found.steps
    assert f"needs the type {needed}" in text
    assert step.startswith("helm upgrade vh " if helm else "kubectl patch daemonset volumehealth-agent ")
    assert needed in step or "presets/eks.yaml" in step


def test_before_the_installation_the_preset_of_bottlerocket_is_named() -> None:
    (step, *_) = preflight(facts(nodes=[on_system("Bottlerocket OS 1.20.0")])).steps
    assert step.endswith("-f charts/volumehealth/presets/eks.yaml")


def test_the_object_of_a_driver_with_capitals_is_found() -> None:
    heard = {
        "metadata": {"name": "d.example.com"},
        "status": {"state": "Answering", "methods": ["ListVolumes"]},
    }
    (plan,) = preflight(
        installed(csinodes=[node("a", "D.Example.com")], csidrivers=[], volumes=[], vhd=[heard])
    ).drivers
    assert plan.today == "Answering, ListVolumes"


def test_nothing_is_to_do_where_every_driver_is_heard() -> None:
    heard = {
        "metadata": {"name": "mute.example.com"},
        "status": {"state": "Unsupported", "basis": "Node", "message": "its node plugin has no health API"},
    }
    found = preflight(
        installed(vhd=[heard], csidrivers=[driver("mute.example.com")], csinodes=[node("a")], volumes=[])
    )
    assert (found.exit_status, found.steps, found.drivers[0].blocks) == (0, (), ())
    assert "on the word of: Node" in found.drivers[0].today


def test_where_not_all_may_be_read_it_does_not_say_that_nothing_is_to_do() -> None:
    cluster = installed(csidrivers=[], csinodes=[], volumes=[], daemonsets=None)
    cluster.refused.append("daemonsets.apps is forbidden")
    found = preflight(cluster)
    assert (found.steps, found.exit_status) == ((), 3)


@pytest.mark.parametrize(
    ("lists", "words"),
    [
        (
            {
                "namespaces": [
                    {
                        "metadata": {
                            "name": "storage",
                            "labels": {"pod-security.kubernetes.io/enforce": "restricted"},
                        }
                    }
                ]
            },
            "enforces the Pod Security Standard restricted",
        ),
        (
            {
                "quotas": [
                    {
                        "metadata": {"namespace": "storage", "name": "q"},
                        "status": {"hard": {"limits.memory": "1Gi"}, "used": {"limits.memory": "900Mi"}},
                    }
                ]
            },
            "ResourceQuota storage/q has no room for the agent: limits.memory 900Mi of 1Gi used, it needs 160Mi",
        ),
        (
            {
                "limits": [
                    {
                        "metadata": {"namespace": "storage", "name": "l"},
                        "spec": {"limits": [{"type": "Container", "max": {"cpu": "250m"}}]},
                    }
                ]
            },
            "LimitRange storage/l allows a container cpu 250m at most, the agent has 500m",
        ),
        (
            {
                "limits": [
                    {
                        "metadata": {"namespace": "storage", "name": "l"},
                        "spec": {"limits": [{"type": "Container", "min": {"memory": "100Mi"}}]},
                    }
                ]
            },
            "LimitRange storage/l wants memory 100Mi of a container at least, the agent asks for 64Mi",
        ),
        (
            {
                "limits": [
                    {
                        "metadata": {"namespace": "storage", "name": "l"},
                        "spec": {"limits": [{"type": "Container", "maxLimitRequestRatio": {"memory": "2"}}]},
                    }
                ]
            },
            "LimitRange storage/l allows a limit of memory 2 times the request at most, the agent has 160Mi for 64Mi",
        ),
    ],
)
def test_what_keeps_the_agent_from_the_controller_is_said(lists: dict[str, Any], words: str) -> None:
    found = preflight(installed(deployments=[controller("ps", DELL)], **lists))
    assert any(words in block for block in found.drivers[0].blocks)


@pytest.mark.parametrize(
    ("metadata", "who"),
    [
        ({"labels": {"olm.owner": "ps-operator.v1"}}, "OLM (ps-operator.v1)"),
        ({"ownerReferences": [{"kind": "CSIPowerStore", "name": "ps"}]}, "an operator (CSIPowerStore ps)"),
        ({"annotations": {"argocd.argoproj.io/tracking-id": "csi:apps/Deployment"}}, "Argo CD (csi)"),
        ({"labels": {"kustomize.toolkit.fluxcd.io/name": "infra"}}, "Flux (infra)"),
        (
            {
                "labels": {"app.kubernetes.io/managed-by": "Helm"},
                "annotations": {"meta.helm.sh/release-name": "ps"},
            },
            "Helm (ps; at its next upgrade)",
        ),
    ],
)
def test_who_takes_a_patch_back_blocks_only_where_the_admission_policy_cannot_help(
    metadata: dict[str, Any], who: str
) -> None:
    cluster = installed(deployments=[controller("ps", DELL, **metadata)])
    assert not any("takes a patch back" in one for one in preflight(cluster).drivers[0].blocks)
    cluster.admission = ("v1beta1",)
    (block,) = [one for one in preflight(cluster).drivers[0].blocks if "takes a patch back" in one]
    assert f"is kept by {who}" in block
    assert "(served: v1beta1)" in block


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("public.example/eks-distro/kubernetes-csi/external-provisioner:v4", "provisioner"),
        ("registry.example/ose-csi-external-provisioner-rhel9:v4.19", "x"),
        ("registry.example/openshift@sha256:0123", "csi-provisioner"),
    ],
)
def test_a_controller_is_known_by_its_sidecars_whoever_built_them(image: str, name: str) -> None:
    found = controller("ps", f"--driver={DELL}")
    found["spec"]["template"]["spec"]["containers"][0] |= {"image": image, "name": name}
    assert DELL in find_controllers([("Deployment", found)], [DELL], {})


def test_a_switch_whose_value_comes_from_another_object_is_not_said_to_be_off() -> None:
    found = controller("ps", f"--driver={DELL}")
    source = {"configMapKeyRef": {"name": "settings", "key": "monitor"}}
    found["spec"]["template"]["spec"]["containers"][1]["env"] = [
        {"name": "X_CSI_HEALTH_MONITOR_ENABLED", "valueFrom": source}
    ]
    plans = preflight(installed(deployments=[*installed()["deployments"], found])).drivers
    assert not [block for plan in plans for block in plan.blocks if "X_CSI_HEALTH_MONITOR" in block]


def test_where_only_the_api_is_left_the_next_command_installs_and_upgrades_nothing() -> None:
    """`helm uninstall` leaves the CRDs; `helm upgrade` then fails, for there is no release."""
    found = preflight(installed(deployments=[], daemonsets=[]))
    assert found.steps == (
        "helm install volumehealth charts/volumehealth --namespace volumehealth-system --create-namespace",
    )


def test_where_workloads_may_not_be_read_nothing_is_installed_a_second_time() -> None:
    found = preflight(installed(deployments=None, daemonsets=None))
    assert found.steps == ()


def test_node_agents_that_want_to_run_nowhere_are_not_well() -> None:
    nowhere = {"status": {"numberReady": 0, "desiredNumberScheduled": 0}}
    found = preflight(installed(daemonsets=[{**installed()["daemonsets"][0], **nowhere}]))
    assert [point.text for point in found.points if not point.well] == [
        "node agent volumehealth-agent/volumehealth-agent: ready on 0 of 0 nodes"
    ]
    assert "kubectl describe daemonset volumehealth-agent -n volumehealth-agent" in found.steps


def test_a_controller_that_names_no_driver_is_found_beside_its_node_plugin() -> None:
    registrar = {
        "metadata": {"namespace": "storage", "name": "node"},
        "spec": {
            "template": {
                "spec": {
                    "containers": [
                        {
                            "name": "registrar",
                            "args": [f"--kubelet-registration-path=/var/lib/kubelet/plugins/{DELL}/csi.sock"],
                        }
                    ]
                }
            }
        },
    }
    homes = registered_where([registrar])
    assert homes == {DELL: "storage"}
    found = find_controllers([("Deployment", controller("ps"))], [DELL], homes)
    assert found[DELL].place == "Deployment storage/ps"
    two = [("Deployment", controller("ps")), ("Deployment", controller("other"))]
    assert find_controllers(two, [DELL], homes) == {}  # two are a guess, and a guess is worse than nothing


def test_a_namespace_that_refuses_the_node_agent_is_told_with_the_command_that_changes_it() -> None:
    space = {
        "metadata": {
            "name": "volumehealth-agent",
            "labels": {"pod-security.kubernetes.io/enforce": "baseline"},
        }
    }
    found = preflight(installed(namespaces=[space]))
    (point,) = [one for one in found.points if not one.well]
    assert "kubectl label namespace volumehealth-agent" in point.text


def test_the_page_fits_80_columns_but_for_commands_that_are_copied() -> None:
    page = show_preflight(preflight(facts(deployments=[controller("ps", DELL)])), width=80)
    assert all(len(line) <= 80 for line in page.splitlines() if not line.lstrip()[:1].isdigit())


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("500m", "0.5"),
        ("1", "1"),
        ("64Mi", "67108864"),
        ("1e3", "1000"),
        ("1E", "1000000000000000000"),
        ("1Ei", "1152921504606846976"),
        ("500000u", "0.5"),
        ("", "0"),
        ("x", "0"),
        ("1e99999999", "0"),
    ],
)
def test_quantities_are_read_as_kubernetes_writes_them(text: str, value: str) -> None:
    assert str(quantity(text).normalize()) == str(quantity(value).normalize())
