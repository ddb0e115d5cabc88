"""The go.mod of another Kubernetes release, and that its programs are built and cached apart."""

from pathlib import Path

import pytest

from volumehealth.errors import SandboxError
from volumehealth_sandbox.releases import go_mod, release_module
from volumehealth_sandbox.tools import RELEASE, find_or_build

PUBLISHED = """\
module k8s.io/kubernetes

require (
	k8s.io/api v0.0.0
	k8s.io/klog/v2 v2.120.1
)

replace (
	k8s.io/api => ./staging/src/k8s.io/api
	k8s.io/client-go => ./staging/src/k8s.io/client-go
)
"""
FAKE_GO = """\
#!/bin/sh
if [ "$1" = env ]; then echo go1.26.8; exit; fi
if [ "$1" = mod ]; then echo '{{"GoMod": "{published}"}}'; exit; fi
echo "$GOFLAGS $@" >> "{calls}"
cat go.mod >> "{calls}"
while [ "$1" != -o ]; do shift; done
echo built > "$2"
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A machine whose Go toolchain pretends: it knows one published go.mod."""
    published = tmp_path / "published.mod"
    published.write_text(PUBLISHED)
    go = tmp_path / "bin" / "go"
    go.parent.mkdir()
    go.write_text(FAKE_GO.format(published=published, calls=tmp_path / "calls"))
    go.chmod(0o755)
    return {"PATH": f"{go.parent}:/usr/bin:/bin", "VOLUMEHEALTH_CACHE": str(tmp_path / "cache")}


def test_each_staging_module_is_replaced_by_its_release_of_the_same_number() -> None:
    text = go_mod("v1.30.14", PUBLISHED)
    assert "require k8s.io/kubernetes v1.30.14\n" in text
    assert "\tk8s.io/api => k8s.io/api v0.30.14\n\tk8s.io/client-go => k8s.io/client-go v0.30.14\n" in text
    assert "klog" not in text


def test_another_release_is_built_from_its_own_module_and_cached_apart(
    environment: dict[str, str], tmp_path: Path
) -> None:
    other = find_or_build("kube-apiserver", print, environment={**environment, RELEASE: "v1.30.14"})
    usual = find_or_build("kube-apiserver", print, environment=environment)
    assert other.parent.name.startswith("kubernetes-v1.30.14-")
    assert other.parent != usual.parent
    calls = (tmp_path / "calls").read_text()
    assert calls.startswith("-mod=mod build")
    assert "gitVersion=v1.30.14" in calls
    assert "k8s.io/api v0.30.14" in calls


def test_other_programs_have_nothing_to_do_with_the_release(environment: dict[str, str]) -> None:
    chosen = find_or_build("etcd", print, environment={**environment, RELEASE: "v1.30.14"})
    assert chosen.parent.name.startswith("etcd-v3.")


@pytest.mark.parametrize("version", ["1.30.14", "v1.30", "latest", "v1.30.14-rc.0"])
def test_what_is_no_release_is_refused(environment: dict[str, str], tmp_path: Path, version: str) -> None:
    with pytest.raises(SandboxError, match="is no release"):
        release_module(version, tmp_path, go=tmp_path / "bin" / "go", environment=environment)
