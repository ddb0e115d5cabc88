"""Generate the manifests of `deploy/` from the chart: `make deploy`. With --check, fail if they are not what it makes.

The chart is the one source: what kubectl and kustomize users apply is what `helm template` makes of it with the values
below, file by file.
"""

import argparse
import json
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

from volumehealth_sandbox.tools import find_or_build

ROOT = Path(__file__).parents[1]
CHART = ROOT / "charts" / "volumehealth"
FILES = {
    "operator/namespace.yaml": "namespace.yaml",
    "operator/rbac.yaml": "rbac.yaml",
    "operator/deployment.yaml": "operator.yaml",
    "operator/availability.yaml": "availability.yaml",
    "operator/service.yaml": "service.yaml",
    "agent/namespace.yaml": "agent/namespace.yaml",
    "agent/rbac.yaml": "agent/rbac.yaml",
    "agent/admission.yaml": "agent/admission.yaml",
    "agent/daemonset.yaml": "agent/daemonset.yaml",
    "agent/quota.yaml": "agent/quota.yaml",
    "controller-agents/injection.yaml": "components/controller-agent-injection/injection.yaml",
    "controller-agents/rights.yaml": "components/controller-agent-rights/rights.yaml",
}
"""Which template makes which file; the kustomizations beside these files are written by hand."""
VALUES = {
    "namespace": {"create": True},
    "crds": {"install": False},
    # The component puts its settings in the places of these words.
    "controllerAgents": [
        {
            "driver": "driver",
            "namespace": "namespace",
            "serviceAccount": "serviceaccount",
            "socketVolume": "socket-dir",
            "inject": True,
        }
    ],
}
SERVED = ("volumehealth.dev/v1alpha1", "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy")
"""APIs of the cluster for which the manifests are."""
_SOURCE = re.compile(r"# Source: volumehealth/templates/(\S+)\n")
_HELM_ONLY = re.compile(
    r"^ +annotations:\n(?= +helm\.sh/)|^ +(app\.kubernetes\.io/(managed-by|instance)|helm\.sh/[a-z-]+): .*\n",
    re.MULTILINE,
)
"""Lines that are true of a Helm release only."""
_HEADER = (
    "# Made by `make deploy` from charts/volumehealth/templates/{source}: change that file, not this one.\n"
)


def generated(helm: Path) -> dict[str, str]:
    """Render the chart; return the text of each file of `deploy/` by its path there.

    Raises:
        subprocess.CalledProcessError: if helm refuses the chart; it has said why.
    """
    command = [
        str(helm),
        "template",
        "volumehealth",
        str(CHART),
        "--namespace=volumehealth-system",
        "--values=-",
    ]
    command += [f"--api-versions={version}" for version in SERVED]
    rendered = subprocess.run(
        command, input=json.dumps(VALUES), stdout=subprocess.PIPE, text=True, check=True
    ).stdout
    documents: dict[str, list[str]] = defaultdict(list)
    for document in re.split(r"^---\n", rendered, flags=re.MULTILINE):
        source = _SOURCE.match(document)
        if source:
            documents[source[1]].append(_HELM_ONLY.sub("", document[source.end() :]).rstrip() + "\n")
    return {
        target: _HEADER.format(source=source) + "---\n".join(documents[source])
        for source, target in FILES.items()
    }


def main() -> int:
    """Write the files, or compare them; the exit status is 1 if they differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare, and change nothing")
    check = parser.parse_args().check
    different = [
        (ROOT / "deploy" / name, text)
        for name, text in generated(find_or_build("helm3", print)).items()
        if not (ROOT / "deploy" / name).exists() or (ROOT / "deploy" / name).read_text() != text
    ]
    for path, text in different:
        print(
            f"{path.relative_to(ROOT)} {'is not what the chart makes: run `make deploy`' if check else 'written'}"
        )
        if not check:
            path.write_text(text)
    return 1 if check and different else 0


if __name__ == "__main__":
    sys.exit(main())
