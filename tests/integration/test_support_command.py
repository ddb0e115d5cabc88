"""`volumehealth support` on a real API server: what helps is in it, what is secret is not, what was not read is named."""

import io
import tarfile
from pathlib import Path

import pytest

from support.command import run
from support.installation import Installation, until
from volumehealth_sandbox.driver import SimulatedDriver
from volumehealth_sandbox.driver_faults import Fault

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

SECRET = "tiger-and-lion"


def contents(file: Path) -> dict[str, str]:
    """Return the files of a bundle by their names, without the directory."""
    with tarfile.open(fileobj=io.BytesIO(file.read_bytes())) as tar:
        return {
            one.name.partition("/")[2]: inside.read().decode()
            for one in tar.getmembers()
            if (inside := tar.extractfile(one)) is not None
        }


async def test_a_bundle_holds_what_helps_and_no_secret_and_says_what_it_could_not_read(
    installed: Installation, tmp_path: Path
) -> None:
    async with SimulatedDriver(name="bundled.example.com", volumes=["a"]) as driver:
        objects = installed.objects
        await objects.make_namespace("bundled")
        await objects.make_claim("bundled", "a", driver=driver.name, handle="a")
        await installed.kubectl(
            "create", "secret", "generic", "password", "-n", "bundled", f"--from-literal=password={SECRET}"
        )
        await installed.kubectl("annotate", "pvc", "a", "-n", "bundled", f"example.com/note={SECRET}")
        await installed.policy(
            "bundled", selector={"drivers": [driver.name]}, interval="5s", unhealthyAfter="0s"
        )
        await installed.operator([driver.endpoint])
        driver.fault("a", Fault.IO_ERRORS)

        async def told() -> bool:
            return "PersistentVolumeClaim/a" in await installed.told("bundled", "VolumeConditionAbnormal")

        await until(told, "the claim is told", within=60)
        file = tmp_path / "bundle.tar.gz"
        status, said = await run(installed.plane.kubeconfig, "support", "-o", str(file))
        assert status == 0, said
        assert file.stat().st_mode & 0o777 == 0o600
        files = contents(file)
        assert "bundled" in files["volumehealthpolicies.yaml"]
        assert "health: Unhealthy" in files["volumehealths.yaml"]
        assert "VolumeConditionAbnormal" in files["events.yaml"]
        assert "handle: a" in files["persistentvolumes.yaml"].lower()
        assert "metrics:" in files["not-read.txt"]  # the operator runs beside this cluster, behind no Service
        assert [name for name, text in files.items() if SECRET in text] == []
        assert not {name for name in files if "secret" in name or "configmap" in name}

        await installed.kubectl("create", "serviceaccount", "helper", "-n", "bundled")
        await installed.kubectl(
            *("create", "rolebinding", "helper", "-n", "bundled", "--clusterrole=system:aggregate-to-view"),
            "--serviceaccount=bundled:helper",
        )
        token = installed.plane.create_token("bundled", "helper")
        mine = installed.plane.write_kubeconfig(tmp_path / "helper.kubeconfig", token, user="helper")
        few = tmp_path / "few.tar.gz"
        status, said = await run(mine, "support", "-o", str(few))
        assert status == 0, said
        assert "not read: nodes:" in said
        assert "persistentvolumes:" in contents(few)["not-read.txt"]
