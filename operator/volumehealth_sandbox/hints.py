"""Commands for a person to copy: how to look at the sandbox, and how to break things in it."""

import shlex

from volumehealth_sandbox.demo_objects import DRIVERS, FILES, MEDIA, NAMESPACE, ORDERS_DB, POLICY
from volumehealth_sandbox.objects import ClaimSpec
from volumehealth_sandbox.world import Sandbox


def fault_command(claim: ClaimSpec, what: str) -> str:
    """Give the shell command that makes a claim's volume fail in some way, or heals it with `--clear`.

    It needs the variables of the sandbox's `env` file.
    """
    key = next(driver.key for driver in DRIVERS if driver.name == claim.volume.driver)
    return f"volumehealth sandbox fault --endpoint=unix://$SANDBOX/{key}.sock {claim.volume.handle} {what}"


def how_to_play(sandbox: Sandbox) -> str:
    """Give some lines for another terminal."""
    driver = f"--endpoint=unix://$SANDBOX/{FILES.key}.sock"
    return f"""\
# kubectl, volumehealth, KUBECONFIG and SANDBOX for this shell (your own kubeconfig is not touched):
source {shlex.quote(str(sandbox.environment_file))}

kubectl get vhp                                  # the policy in one line
kubectl describe vhp {POLICY}                        # the page for 3 a.m.
kubectl get volumehealth -A -o wide              # one line for each unhealthy claim
kubectl get events -n {NAMESPACE} --watch
kubectl explain vhp.spec --recursive

# break a volume, and heal it; --help lists all kinds of faults
{fault_command(MEDIA, "IOErrors")}
{fault_command(ORDERS_DB, "OutOfCapacity")}
{fault_command(MEDIA, "--clear")}
# or let the driver itself misbehave
volumehealth sandbox misbehave {driver} --help

curl -s {sandbox.metrics_url} | grep ^volumehealth
tail -f $SANDBOX/logs/operator.log
"""
