"""Kubeconfig files as kubectl reads them: merged, with exec plugins and OIDC, by `kubernetes.aio`.

Loaded only where a kubeconfig is: on a person's machine and in tests. What the library leaves to us: reading a
`tokenFile` again, a token file that ends in a newline, and telling in one sentence why there are no credentials.
"""

from collections.abc import Mapping
from typing import Any, Self

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
_LONGEST = 1000
"""Characters of its own words that are told: an exec plugin's standard error may have no end."""


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
            loader = KubeConfigLoader(
                KubeConfigMerger(paths).config, active_context=context or None, config_base_path=None
            )
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
        )


def _explained(error: BaseException) -> NoCredentials:
    text = " ".join(str(error)[:_LONGEST].split())
    if isinstance(error, (ConfigException, OSError, ValueError)) and text:
        return NoCredentials(text)
    return NoCredentials(f"the kubeconfig cannot be read ({type(error).__name__}: {text})")
