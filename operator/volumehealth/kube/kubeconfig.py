"""Kubeconfig files as kubectl reads them: merged, with exec plugins and OIDC, by `kubernetes.aio`.

Loaded only where a kubeconfig is: on a person's machine and in tests. What the library leaves to us: which of several
current contexts counts, whom a user acts as, reading a `tokenFile` again, a token file that ends in a newline, and telling
in one sentence why there are no credentials.
"""

import os
from collections.abc import Iterator, Mapping
from typing import Any, Self
from urllib.parse import quote

import aiohttp
import yaml
from kubernetes.aio.client import Configuration
from kubernetes.aio.config import ConfigException
from kubernetes.aio.config.kube_config import KubeConfigLoader, KubeConfigMerger

from volumehealth.kube.access import Access, NoCredentials
from volumehealth.kube.proxies import proxy_for

_UNREADABLE = (
    ConfigException,
    yaml.YAMLError,
    aiohttp.ClientError,
    OSError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    RecursionError,
)
"""What the library lets through when a kubeconfig, an exec plugin's answer or OIDC's is not what it expects."""
_IN_A_HEADERS_NAME = "!#$&'*+^`|"
"""What a header's name may hold beside letters, digits and `-._~`; client-go writes the rest as `%2F`."""
_LONGEST = 1000
"""Characters of its own words that are told: an exec plugin's standard error may have no end."""


class _Merger(KubeConfigMerger):  # type: ignore[misc]  # the library has no types
    """Merges files as client-go does: the first that names a current context decides; an empty file says nothing."""

    def load_config(self, path: str) -> None:
        """Add a file to those before it."""
        with open(path, encoding="utf-8") as file:
            if yaml.safe_load(file) is None:
                return
        current = self.config.value.get("current-context") if self.config is not None else None
        super().load_config(path)
        if current:
            self.config.value["current-context"] = current
        for user in self.config_files[path].get("users") or ():
            plugin = (user.get("user") or {}).get("exec")
            if plugin and os.sep in plugin.get("command", ""):
                plugin["command"] = os.path.join(os.path.dirname(os.path.abspath(path)), plugin["command"])


class Kubeconfig:
    """Kubeconfig files that were read."""

    def __init__(self, loader: KubeConfigLoader, configuration: Any, environ: Mapping[str, str]) -> None:
        self._loader = loader
        self._configuration = configuration
        self._environ = environ

    @classmethod
    async def read(cls, paths: str, context: str | None, environ: Mapping[str, str]) -> Self:
        """Read files, and run an exec plugin if they name one.

        Args:
            paths: one or several, separated as in KUBECONFIG; the first that says something counts.
            context: None is the current one.
            environ: where a proxy is looked up.

        Raises:
            NoCredentials: if they are no kubeconfig, or give no credentials.
        """
        configuration = Configuration()
        try:
            merged = _Merger(paths).config
            if merged is None:
                raise NoCredentials(f"the kubeconfig cannot be read: there is nothing in {paths}")
            loader = KubeConfigLoader(merged, active_context=context or None, config_base_path=None)
            await loader.load_and_set(configuration)
        except _UNREADABLE as error:
            raise _explained(error) from error
        user = loader._user
        if user is not None and "exec" in user and not configuration.api_key and not configuration.cert_file:
            raise NoCredentials(f"the kubeconfig's exec plugin {user['exec']['command']} gave none")
        return cls(loader, configuration, environ)

    async def refresh(self) -> None:
        """Read again what expires: token files, an exec plugin's or OIDC's answer that ends soon.

        Raises:
            NoCredentials: if it cannot be read now.
        """
        if self._keeps():
            return
        try:
            await self._loader.load_and_set(self._configuration)
        except _UNREADABLE as error:
            raise _explained(error) from error

    def _keeps(self) -> bool:
        """Tell whether the credentials hold until the server refuses them: an exec plugin that named no end."""
        user = self._loader._user
        return user is None or ("exec" in user and not hasattr(self._loader, "exec_plugin_expiry"))

    async def access(self) -> Access:
        """Return what was read last.

        Raises:
            NoCredentials: if the library cannot put it together.
        """
        found = self._configuration
        try:
            token = await found.get_api_key_with_prefix("BearerToken") or ""
            server = found.host.rstrip("/")
        except _UNREADABLE as error:
            raise _explained(error) from error
        return Access(
            server=server,
            authorization=" ".join(token.split()),  # a token file may end in a newline
            ca_file=found.ssl_ca_cert or "",
            cert_file=found.cert_file or "",
            key_file=found.key_file or "",
            verify=bool(found.verify_ssl),
            server_name=found.tls_server_name or "",
            proxy=found.proxy or proxy_for(server, self._environ),
            acts_as=tuple(_acts_as(self._loader._user.value)) if self._loader._user is not None else (),
        )


def _acts_as(user: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the headers that say whom a user acts as (`as`, `as-uid`, `as-groups`, `as-user-extra`), as client-go sends them.

    Raises:
        NoCredentials: if they name nobody.
    """
    groups, extra = user.get("as-groups") or (), user.get("as-user-extra") or {}
    if not user.get("as"):
        if groups or extra or user.get("as-uid"):
            raise NoCredentials("the kubeconfig's user acts as a group or a uid, and `as` names no user")
        return
    yield "Impersonate-User", str(user["as"])
    if user.get("as-uid"):
        yield "Impersonate-Uid", str(user["as-uid"])
    for group in groups:
        yield "Impersonate-Group", str(group)
    for name, values in extra.items():
        for value in values:
            yield f"Impersonate-Extra-{quote(str(name), safe=_IN_A_HEADERS_NAME)}", str(value)


def _explained(error: BaseException) -> NoCredentials:
    text = " ".join(str(error)[:_LONGEST].split())
    if isinstance(error, (ConfigException, OSError, ValueError)) and text:
        return NoCredentials(text)
    return NoCredentials(f"the kubeconfig cannot be read ({type(error).__name__}: {text})")
