"""Who may log in to the sandbox's API server, and when it is ready."""

import csv
import io
import json
import os
import secrets
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from volumehealth.errors import SandboxError
from volumehealth_sandbox.flags import Layout
from volumehealth_sandbox.processes import Program

_READY_WITHIN = 90.0
_AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata"}],
}


@dataclass(frozen=True, slots=True)
class Access:
    """Static tokens and kubeconfig files of one control plane."""

    layout: Layout

    def write_tokens(self, users: Mapping[str, Sequence[str]]) -> None:
        """Give each user with its groups a token, unless that was done before; also writes the audit policy."""
        if not self.layout.audit_policy.exists():
            write_private(self.layout.audit_policy, json.dumps(_AUDIT_POLICY))
        if self.layout.tokens.exists():
            return
        out = io.StringIO()
        for user, groups in users.items():
            csv.writer(out).writerow([secrets.token_hex(16), user, user, ",".join(groups)])
        write_private(self.layout.tokens, out.getvalue())

    def token_of(self, user: str) -> str:
        """Give a user's bearer token.

        Raises:
            KeyError: if there is no such user.
        """
        with self.layout.tokens.open(newline="") as file:
            return {name: token for token, name, *_ in csv.reader(file)}[user]

    def write_kubeconfig(self, path: Path, token: str, *, user: str) -> None:
        """Write a kubeconfig file that only its owner can read; JSON is YAML."""
        name = "volumehealth-sandbox"
        cluster = {"server": self.layout.url, "certificate-authority": str(self.layout.ca_file)}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": name, "cluster": cluster}],
            "users": [{"name": user, "user": {"token": token}}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": user}}],
            "current-context": name,
        }
        write_private(path, json.dumps(config, indent=2))


def write_private(path: Path, text: str) -> None:
    """Write a file that nobody else can read, in one step."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    fresh.replace(path)


def await_ready(layout: Layout, token: str, programs: Sequence[Program]) -> None:
    """Return when the API server is ready and has made its namespaces.

    Raises:
        SandboxError: if one of the programs ends, or it takes longer than 90 s.
    """
    deadline = time.monotonic() + _READY_WITHIN
    while True:
        for program in programs:
            program.check_alive()
        try:
            for path in ("/readyz", "/api/v1/namespaces/default"):
                _get(layout, path, token)
        except OSError as error:
            if time.monotonic() > deadline:
                raise SandboxError(
                    f"the API server is not ready after {_READY_WITHIN:.0f} s ({error}). "
                    f"The end of {programs[-1].log}:\n{programs[-1].tail()}"
                ) from error
            time.sleep(0.1)
        else:
            return


def _get(layout: Layout, path: str, token: str) -> None:
    """Ask for a page; OSError (which URLError and SSLError are) if it cannot be had."""
    context = ssl.create_default_context(cafile=str(layout.ca_file))
    request = urllib.request.Request(layout.url + path, headers={"Authorization": f"Bearer {token}"})  # noqa: S310 - https
    no_proxy = urllib.request.ProxyHandler({})
    opener = urllib.request.build_opener(no_proxy, urllib.request.HTTPSHandler(context=context))
    opener.open(request, timeout=5).close()
