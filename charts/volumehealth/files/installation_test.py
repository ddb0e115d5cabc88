"""What `helm test` runs: wait until an operator leads and agents report, and say who; exit status 1 if that fails.

It needs nothing but Python, and asks the API server with the token of its Pod.
"""

import json
import os
import ssl
import sys
import time
import urllib.request
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
OPERATOR = "volumehealth-operator"
AGENT = "volumehealth-agent-"
PATIENCE = 120.0
"""Seconds; the first check of a new installation may come after a minute."""


def leases() -> list[dict[str, Any]]:
    """List the Leases of the operator's namespace.

    Raises:
        OSError: if the API server does not answer, or refuses.
    """
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
    host = f"[{host}]" if ":" in host else host
    namespace, token = ((ACCOUNT / name).read_text().strip() for name in ("namespace", "token"))
    request = urllib.request.Request(
        f"https://{host}:{port}/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases",
        headers={"Authorization": f"Bearer {token}"},
    )
    trusted = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trusted)
    )
    with opener.open(request, timeout=10) as answer:
        items: list[dict[str, Any]] = json.load(answer)["items"]
    return items


def alive(lease: dict[str, Any], now: datetime) -> bool:
    """Tell whether a Lease was renewed within its duration."""
    spec = lease.get("spec") or {}
    if not spec.get("renewTime"):
        return False
    renewed = datetime.fromisoformat(spec["renewTime"].replace("Z", "+00:00"))
    duration: int = spec.get("leaseDurationSeconds", 0)
    return (now - renewed).total_seconds() < duration


def holders(prefix: str, every: list[dict[str, Any]]) -> list[str]:
    """Return who holds the Leases that are alive and whose names begin so."""
    now = datetime.now(timezone.utc)  # noqa: UP017, TID251 - a program of its own
    named = [one for one in every if one["metadata"]["name"].startswith(prefix)]
    return [str(one["spec"].get("holderIdentity")) for one in named if alive(one, now)]


def main() -> int:
    """Look every two seconds until all is well or the time is over."""
    wants_agents = "--agents=1" in sys.argv
    deadline = time.monotonic() + PATIENCE
    said = ""
    while time.monotonic() < deadline:
        try:
            every = leases()
        except OSError as failure:
            said = f"the API server does not answer: {failure}"
        else:
            leaders, agents = holders(OPERATOR, every), holders(AGENT, every)
            said = f"operator: {', '.join(leaders) or 'none leads'}; agents that report: {len(agents)}"
            if leaders and (agents or not wants_agents):
                print(f"OK: {said}")
                return 0
        time.sleep(2)
    print(f"FAILED after {PATIENCE:.0f} s: {said}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
