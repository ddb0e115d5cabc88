"""The story: a healthy shop, two faults, what kubectl shows of them, recovery; then a disk that really breaks."""

import time

from volumehealth.errors import VolumeHealthError
from volumehealth_sandbox.demo_node import BreakableNode, why_no_disk
from volumehealth_sandbox.demo_objects import CLAIMS, FILES, MEDIA, NAMESPACE, NVME, ORDERS_DB, POLICY
from volumehealth_sandbox.hints import fault_command, how_to_play
from volumehealth_sandbox.interrupts import interruptible
from volumehealth_sandbox.screen import Screen
from volumehealth_sandbox.wait import Check, Look, Told, await_told, first_missing
from volumehealth_sandbox.world import Sandbox

_TOUCHED = (
    "PersistentVolumeClaim/media",
    "Pod/web-0",
    "Pod/web-1",
    "PersistentVolumeClaim/orders-db",
    "Pod/orders-db-0",
)
"""Objects on which the two faults must be told: media is shared by two Pods."""
_INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells have it."""
_EVENTS_ONLY = "sed -n '/^Events:/,$p'"


class Demo:
    """Plays the story in a sandbox and shows it on a screen.

    Args:
        sandbox: not started yet; it is ended with the story, whatever happens.
        screen: where it is shown.
    """

    def __init__(self, sandbox: Sandbox, screen: Screen) -> None:
        self._sandbox = sandbox
        self._screen = screen
        self._look = Look(sandbox)

    def play(self, *, once: bool) -> int:
        """Play it; unless `once`, stay up afterwards until interrupted.

        Returns:
            The exit status: 0, or 1 if a step failed.
        """
        told = False
        with interruptible():
            try:
                with self._sandbox:
                    self._tell()
                    told = True
                    if not once:
                        self._stay()
            except KeyboardInterrupt:
                self._screen.say("Ended; nothing is left behind.")
                return 0 if told else _INTERRUPTED
            except VolumeHealthError as error:
                self._screen.bad(str(error))
                return 1
        self._screen.say("That was the story; everything is ended, nothing is left behind.")
        return 0

    def _tell(self) -> None:
        self._healthy()
        self._faults()
        self._shown()
        self._recovery()
        self._mute()

    # The steps.

    def _healthy(self) -> None:
        self._screen.step("A policy asks for the health of the shop's volumes")
        self._screen.say(
            f"{len(CLAIMS)} claims on three CSI drivers. {NVME.name} tells {NVME.tells}; {FILES.name} tells "
            f"{FILES.tells}; the third tells nothing, so its claim is not monitored."
        )
        self._run(f"kubectl get pvc -n {NAMESPACE}")
        self._run("cat $SANDBOX/policy.yaml")
        self._run("kubectl apply -f $SANDBOX/policy.yaml")
        self._wait("the policy says that all is well", lambda: self._look.policy_says("True", unhealthy=0))
        self._run("kubectl get vhp")
        self._run("kubectl get volumehealth -A")

    def _faults(self) -> None:
        self._screen.step("Two volumes fail, and Kubernetes does not notice")
        self._screen.say(
            "Somebody deletes the volume of claim media on the storage itself, and the disks under orders-db die:"
        )
        self._run(fault_command(MEDIA, "VolumeDeleted"))
        self._run(fault_command(ORDERS_DB, "DiskFailure"))
        self._run(f"kubectl get pvc,pods -n {NAMESPACE}")
        self._screen.say(
            "Every claim is Bound and every Pod is Running. But the drivers know, and they are asked:"
        )
        look = self._look
        self._wait(
            "policy, records and events tell of both volumes",
            first_missing(
                lambda: look.policy_says("False", unhealthy=2),
                lambda: look.record_says("media", "Unhealthy"),
                lambda: look.record_says("orders-db", "Unhealthy"),
                lambda: look.events_tell("VolumeConditionAbnormal", _TOUCHED),
            ),
        )

    def _shown(self) -> None:
        self._screen.step("What people see")
        self._run("kubectl get vhp")
        self._run(f"kubectl describe volumehealthpolicy {POLICY}")
        self._run("kubectl get volumehealth -A")
        self._run(f"kubectl describe pvc media -n {NAMESPACE}")
        self._run(f"kubectl describe pod web-0 -n {NAMESPACE} | {_EVENTS_ONLY}")
        self._screen.say("web-1 uses the same claim, so its owner is told as well:")
        self._run(f"kubectl describe pod web-1 -n {NAMESPACE} | {_EVENTS_ONLY}")

    def _recovery(self) -> None:
        self._screen.step("The storage is repaired")
        self._run(fault_command(MEDIA, "--clear"))
        self._run(fault_command(ORDERS_DB, "--clear"))
        look = self._look
        self._wait(
            "policy, records and events tell of the recovery",
            first_missing(
                lambda: look.policy_says("True", unhealthy=0),
                lambda: look.record_says("media", "Recovered"),
                lambda: look.record_says("orders-db", "Recovered"),
                lambda: look.events_tell("VolumeConditionNormal", _TOUCHED),
            ),
        )
        self._run("kubectl get vhp")
        self._run("kubectl get volumehealth -A")
        self._run(f"kubectl describe volumehealth media -n {NAMESPACE}")
        self._run(f"kubectl describe pvc media -n {NAMESPACE} | {_EVENTS_ONLY}")
        self._run(f"kubectl describe pod web-0 -n {NAMESPACE} | {_EVENTS_ONLY}")

    def _mute(self) -> None:
        """Break a disk for real, below a driver that tells nothing."""
        self._screen.step("A driver that tells nothing: its node sees the volume")
        if why := why_no_disk():
            self._screen.say(f"Left out: a disk that really breaks under claim invoices; {why}.")
            return
        with BreakableNode(self._sandbox, self._look.uid_of("invoices-0")) as node:
            self._broken(node)

    def _broken(self, node: BreakableNode) -> None:
        look = self._look
        self._screen.say(
            "Claim invoices is an ext4 on a real disk now, and an agent looks at its node. The driver still has no health call."
        )
        self._wait("the node says that all is well", lambda: look.healthy_by_node(1))
        self._run("kubectl get vhd -o wide")
        self._screen.say("The disk hangs. Somebody writes, and waits; no error is said anywhere:")
        self._run(f"echo 'reads=hang writes=hang' > {node.disk}/faults")
        self._run(f"(dd if=/dev/zero of={node.path}/ledger bs=4k count=16 conv=fsync >/dev/null 2>&1 &)")
        touched = ("PersistentVolumeClaim/invoices", "Pod/invoices-0")
        self._wait(
            "record and events tell of the volume",
            first_missing(
                lambda: look.record_says("invoices", "Unhealthy"),
                lambda: look.events_tell("VolumeConditionAbnormal", touched),
            ),
        )
        self._run("kubectl get vhp")
        self._run(f"kubectl describe pvc invoices -n {NAMESPACE} | {_EVENTS_ONLY}")
        self._screen.say("The disk works again:")
        self._run(f"echo 'reads=work writes=work' > {node.disk}/faults")
        self._wait(
            "record and events tell of the recovery",
            first_missing(
                lambda: look.record_says("invoices", "Recovered"),
                lambda: look.events_tell("VolumeConditionNormal", touched),
            ),
        )
        self._run(f"kubectl describe pvc invoices -n {NAMESPACE} | {_EVENTS_ONLY}")

    def _stay(self) -> None:
        self._screen.step("Your turn")
        self._screen.say("All of it stays up until you press Ctrl-C. In another terminal:")
        self._screen.text(how_to_play(self._sandbox))
        while True:
            time.sleep(1.0)
            self._sandbox.check_alive()

    def _run(self, command: str) -> None:
        self._screen.run(command, self._sandbox.shell_environment())

    def _wait(self, what: str, check: Check) -> None:
        with self._screen.waiting(what):
            await_told(self._sandbox, Told(what, check))
