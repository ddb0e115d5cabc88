"""Make what a release consists of in `dist/`, and say what is left to do: `make release`. It publishes nothing.

The version is the package's. Made are the packed chart, the wheel, the plugin of kubectl for krew, the manifests for
`kubectl apply -f`, this version's part of the changelog, and SHA256SUMS over them.
"""

import hashlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from volumehealth import __version__
from volumehealth_sandbox.tools import find_or_build

ROOT = Path(__file__).parents[1]
CHART = ROOT / "charts" / "volumehealth"
DIST = ROOT / "dist"
_UNRELEASED = re.compile(r"^## \[Unreleased\]\n(.*?)(?=^## \[|\Z)", re.MULTILINE | re.DOTALL)


def faults(root: Path, version: str) -> list[str]:
    """Say what keeps a checkout from being released as this version; empty if nothing does.

    Args:
        root: of the checkout.
        version: such as `0.1.0`.
    """
    found = []
    chart = yaml.safe_load((root / "charts" / "volumehealth" / "Chart.yaml").read_text())
    found += [
        f"Chart.yaml: {name} is {chart[name]}, the package is {version}"
        for name in ("version", "appVersion")
        if chart[name] != version
    ]
    if f'version = "{version}"' not in (root / "pyproject.toml").read_text():
        found.append(f"pyproject.toml: its version is not {version}")
    for name in ("deploy", "deploy/agent"):
        kustomization = yaml.safe_load((root / name / "kustomization.yaml").read_text())
        if [image["newTag"] for image in kustomization["images"]] != [version]:
            found.append(f"{name}/kustomization.yaml: the image's tag is not {version}")
    if not unreleased((root / "CHANGELOG.md").read_text()):
        found.append("CHANGELOG.md: nothing stands under Unreleased")
    return found


def unreleased(changelog: str) -> str:
    """Return what a changelog says of the next release, without its heading."""
    section = _UNRELEASED.search(changelog)
    return section[1].strip() if section else ""


def make() -> None:
    """Fill `dist/`.

    Raises:
        subprocess.CalledProcessError: if a program fails; it has said why.
    """
    shutil.rmtree(DIST, ignore_errors=True)
    DIST.mkdir()
    changes = unreleased((ROOT / "CHANGELOG.md").read_text())
    (DIST / "CHANGES.md").write_text(f"## [{__version__}]\n\n{changes}\n")
    helm, kubectl = find_or_build("helm3", print), find_or_build("kubectl", print)
    _run(helm, "package", CHART, "--destination", DIST)
    _run(sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", DIST)
    _run(sys.executable, ROOT / "charts" / "krew.py")
    for name, source in (("operator", "deploy"), ("agent", "deploy/agent")):
        manifest = subprocess.run(
            [kubectl, "kustomize", ROOT / source], cwd=ROOT, stdout=subprocess.PIPE, check=True
        ).stdout
        (DIST / f"{name}.yaml").write_bytes(manifest)
    (DIST / "SHA256SUMS").write_text(checksums(DIST))


def checksums(home: Path) -> str:
    """Return the lines of a SHA256SUMS file over the files of a directory."""
    files = sorted(file for file in home.iterdir() if file.name != "SHA256SUMS")
    return "".join(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files)


def _run(*command: str | Path) -> None:
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def main() -> int:
    """Check, make, and print what a person has to do; the exit status is 1 if something is not in order."""
    wrong = faults(ROOT, __version__)
    for fault in wrong:
        print(f"not ready: {fault}")
    if wrong:
        return 1
    make()
    print(f"Version {__version__}, made in dist/ and published nowhere:\n")
    print((DIST / "SHA256SUMS").read_text())
    image = f"REGISTRY/volumehealth:{__version__}"
    print(f"""To publish it:
  put the contents of dist/CHANGES.md under a heading of its own in CHANGELOG.md, with today's date, and commit
  git tag --sign v{__version__}
  docker build --tag {image} . && docker push {image}
  helm push dist/volumehealth-{__version__}.tgz oci://REGISTRY/charts
  put the address of the release for https://RELEASES into dist/volumehealth.yaml, the manifest for krew
  attach dist/* to the release of the tag""")
    return 0


if __name__ == "__main__":
    sys.exit(main())
