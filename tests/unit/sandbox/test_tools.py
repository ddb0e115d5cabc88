"""Where the sandbox's programs come from: installed ones that fit, the cache, else one build."""

import pwd
import stat
import threading
from pathlib import Path

import pytest

from volumehealth.errors import SandboxError
from volumehealth_sandbox.tools import TOOLS, cache_directory, find_or_build, module_version, version_fits

FAKE_GO = """\
#!/bin/sh
if [ "$1" = env ]; then echo go1.26.8; exit; fi
echo "$@" >> "{calls}"
while [ "$1" != -o ]; do shift; done
{build}
"""


def program(path: Path, script: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(script)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


class House:
    """A machine with a directory on PATH, an own cache, and a Go toolchain that only pretends."""

    def __init__(self, root: Path) -> None:
        self.bin = root / "bin"
        self.cache = root / "cache"
        self.calls = root / "calls"
        self.said: list[str] = []
        self.environment = {
            "PATH": f"{self.bin}:/usr/bin:/bin",
            "VOLUMEHEALTH_CACHE": str(self.cache),
            "KUBEBUILDER_ASSETS": str(root / "assets"),
        }
        self.assets = root / "assets"
        self.go('echo built > "$2"')

    def go(self, build: str) -> None:
        program(self.bin / "go", FAKE_GO.format(calls=self.calls, build=build))

    def find(self, name: str) -> Path:
        return find_or_build(name, self.said.append, environment=self.environment)

    @property
    def builds(self) -> int:
        return len(self.calls.read_text().splitlines()) if self.calls.exists() else 0


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


@pytest.mark.parametrize(
    ("told", "fits"),
    [
        pytest.param("Kubernetes v1.37.0", True, id="an API server of the same minor release"),
        pytest.param("Kubernetes v1.37.9+build.1", True, id="build metadata does not matter"),
        pytest.param("Kubernetes v1.36.2", False, id="an older minor release"),
        pytest.param("clientVersion:\n  gitVersion: v1.37.1\n  platform: x", True, id="kubectl as YAML"),
        pytest.param("clientVersion:\n  gitVersion: v1.37.1-dispatcher\n", False, id="a wrapper of kubectl"),
        pytest.param("etcd Version: 3.5.0\nGit SHA: x", True, id="etcd 3.5"),
        pytest.param("etcd Version: 3.4.30\nGit SHA: x", False, id="etcd 3.4"),
        pytest.param("command not found", False, id="no version at all"),
    ],
)
def test_a_version_fits_or_not(told: str, fits: bool) -> None:
    assert version_fits(told, "v1.37.2") is fits


def test_a_fitting_program_of_kubebuilder_assets_is_taken(house: House) -> None:
    installed = program(house.assets / "kube-apiserver", "#!/bin/sh\necho Kubernetes v1.37.1\n")
    assert house.find("kube-apiserver") == installed
    assert house.builds == 0


def test_a_program_on_path_that_does_not_fit_is_passed_over(house: House) -> None:
    program(house.bin / "kubectl", "#!/bin/sh\necho '  gitVersion: v1.32.4-dispatcher'\n")
    assert house.find("kubectl").is_relative_to(house.cache)


def test_what_is_missing_is_built_once_and_the_person_is_told_how_long_it_takes(house: House) -> None:
    first, second = house.find("kube-apiserver"), house.find("kube-apiserver")

    assert first == second
    assert first.parent.name.startswith("kubernetes-v1.37.")
    assert first.read_text() == "built\n"
    assert house.builds == 1
    assert "4 to 7 minutes" in house.said[0]
    assert "gitVersion=v1.37." in house.calls.read_text()


def test_two_at_once_never_build_the_same_program_twice(house: House) -> None:
    go_on = house.cache / "go-on"
    house.go(f'while [ ! -e "{go_on}" ]; do :; done; echo built > "$2"')
    one_waits = threading.Event()

    def say(line: str) -> None:
        if "waiting for it" in line:
            one_waits.set()

    both = [
        threading.Thread(target=find_or_build, args=("etcd", say), kwargs={"environment": house.environment})
        for _ in range(2)
    ]
    for one in both:
        one.start()
    assert one_waits.wait(20)
    go_on.touch()
    for one in both:
        one.join(20)

    assert house.builds == 1


def test_a_failed_build_says_why_and_leaves_nothing_that_looks_built(house: House) -> None:
    house.go("echo 'missing go.sum entry' >&2; exit 1")
    with pytest.raises(SandboxError, match=r"(?s)building etcd failed.*missing go.sum entry"):
        house.find("etcd")
    assert not list(house.cache.rglob("etcd"))


def test_a_program_that_comes_with_no_module_needs_to_be_told_where_it_is(house: House) -> None:
    with pytest.raises(SandboxError, match="module_dir"):
        house.find("csi-sanity")


def test_the_version_is_that_of_go_mod(tmp_path: Path) -> None:
    (tmp_path / "go.mod").write_text("module x\n\nrequire (\n\texample.com/a/v2 v2.0.1 // indirect\n)\n")
    assert module_version(tmp_path, "example.com/a/v2") == "v2.0.1"
    with pytest.raises(SandboxError, match="does not ask for"):
        module_version(tmp_path, "example.com/a")


def test_the_cache_is_where_the_user_wants_it() -> None:
    assert cache_directory({"VOLUMEHEALTH_CACHE": "/a", "XDG_CACHE_HOME": "/b"}) == Path("/a")
    assert cache_directory({"XDG_CACHE_HOME": "/b"}) == Path("/b/volumehealth")
    assert cache_directory({}) == Path.home() / ".cache" / "volumehealth"


def test_everything_the_sandbox_starts_can_be_built() -> None:
    assert {"etcd", "kube-apiserver", "kubectl"} <= set(TOOLS)


def test_a_user_without_a_home_is_told_what_to_set_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(uid: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    with pytest.raises(SandboxError, match="set VOLUMEHEALTH_CACHE"):
        cache_directory({})
    assert cache_directory({"VOLUMEHEALTH_CACHE": "/var/cache/vh"}) == Path("/var/cache/vh")
