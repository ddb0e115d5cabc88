"""Credentials as kubectl finds them, loaded by `kubernetes.aio` and loaded again before they are too old.

What the library leaves to us: where to look (it reads KUBECONFIG at import), reading a `tokenFile` again, a token file
that ends in a newline, and telling in one sentence why there are no credentials.
"""

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml
from kubernetes.aio.client import Configuration
from kubernetes.aio.client.rest import RESTClientObject
from kubernetes.aio.config import ConfigException
from kubernetes.aio.config.incluster_config import SERVICE_CERT_FILENAME as POD_CA
from kubernetes.aio.config.incluster_config import SERVICE_HOST_ENV_NAME, InClusterConfigLoader
from kubernetes.aio.config.incluster_config import SERVICE_TOKEN_FILENAME as POD_TOKEN
from kubernetes.aio.config.kube_config import KubeConfigLoader, KubeConfigMerger

from volumehealth import errors
from volumehealth.kube.proxies import proxy_for

_UNREADABLE = (ConfigException, yaml.YAMLError, OSError, ValueError, TypeError, KeyError, AttributeError)
"""What the library lets through when a kubeconfig is not what it expects."""


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach the API server and who we are to it.

    Attributes:
        server: URL, without a slash at the end.
        authorization: value of the header of that name; empty if a client certificate says who we are.
        ca_file: CA certificates in PEM; empty means those of the system.
        cert_file, key_file: client certificate and its key; empty if there is none.
        verify: False only if the kubeconfig says `insecure-skip-tls-verify`.
        server_name: name to expect in the server's certificate, if it is not that of the URL.
        proxy: URL of an HTTP proxy, of the kubeconfig or else of the environment; empty if there is none.
    """

    server: str
    authorization: str = ""
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    verify: bool = True
    server_name: str = ""
    proxy: str = ""

    def files(self) -> tuple[tuple[str, int], ...]:
        """Return the files a connection is made with and when each was changed."""
        paths = (self.ca_file, self.cert_file, self.key_file)
        return tuple((path, os.stat(path).st_mtime_ns) for path in paths if path)


class CredentialSource:
    """Where credentials come from, so that they can be loaded again.

    Args:
        kubeconfig: path of one file; None or empty means as kubectl finds it, then those of the pod we run in.
        context: of the kubeconfig; None is its current one.
        environ: where KUBECONFIG, the pod's variables and HTTPS_PROXY are looked up.
    """

    def __init__(
        self, kubeconfig: str | None, context: str | None = None, *, environ: Mapping[str, str] | None = None
    ) -> None:
        self._kubeconfig = kubeconfig
        self._context = context
        self._environ = os.environ if environ is None else environ
        self._loader: KubeConfigLoader | None = None
        self._configuration: Any = None

    @property
    def configuration(self) -> Any:
        """The library's `Configuration` of the last load."""
        return self._configuration

    async def load(self) -> Access:
        """Read everything anew: files, exec plugins, tokens.

        Raises:
            ApiError: if there are no credentials, or they cannot be read.
        """
        try:
            return await self._load()
        except _UNREADABLE as error:
            raise errors.ApiError(f"no credentials for the API server: {_text(error)}") from error

    async def refresh(self) -> Access:
        """Read again what expires: token files, the pod's token, an exec plugin's or OIDC's answer that ends soon.

        Raises:
            ApiError: if it cannot be read now.
        """
        loader = self._loader
        if loader is None:
            return await self.load()
        try:
            if not _keeps(loader):
                await loader.load_and_set(self._configuration)
            return await self._access()
        except _UNREADABLE as error:
            raise errors.ApiError(f"credentials cannot be renewed: {_text(error)}") from error

    async def _load(self) -> Access:
        self._loader = None
        self._configuration = Configuration()
        # The library's default refuses certificates that kubectl accepts (Python 3.13's strict X.509 checks).
        self._configuration.disable_strict_ssl_verification = True
        # Else aiohttp reads ~/.netrc and looks for a proxy before each request, in a thread; and a .netrc that names
        # the server ends in an error beside our own Authorization.
        self._configuration.client_session_kwargs = {"trust_env": False}
        paths = self._paths()
        if paths:
            self._loader = await _load_files(paths, self._context, self._configuration)
        elif self._environ.get(SERVICE_HOST_ENV_NAME):
            InClusterConfigLoader(
                token_filename=POD_TOKEN, cert_filename=POD_CA, try_refresh_token=False, environ=self._environ
            ).load_and_set(self._configuration)
        else:
            raise ConfigException(self._nothing_found())
        return await self._access()

    def _paths(self) -> str:
        """Return the kubeconfig files to merge, as the library takes them; empty if there is none."""
        if self._kubeconfig:
            if not _exists(self._kubeconfig):
                raise ConfigException(f"there is no kubeconfig file {self._kubeconfig}")
            return self._kubeconfig
        named = self._environ.get("KUBECONFIG", "")
        paths = named.split(os.pathsep) if named else ["~/.kube/config"]
        return os.pathsep.join(path for path in paths if path and _exists(path))

    def _nothing_found(self) -> str:
        named = self._environ.get("KUBECONFIG", "")
        looked = f"KUBECONFIG names no file that exists ({named})" if named else "there is no ~/.kube/config"
        return f"{looked}, and this is no pod of a cluster"

    async def _access(self) -> Access:
        found = self._configuration
        token = await found.get_api_key_with_prefix("BearerToken") or ""
        server = found.host.rstrip("/")
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


class Connection(RESTClientObject):  # type: ignore[misc]  # the library ships no types
    """The library's connection pool, of which we use the session itself: raw bytes, no models."""

    def __init__(self, configuration: Any) -> None:
        try:
            super().__init__(configuration)
        except (ssl.SSLError, OSError) as error:
            raise errors.ApiError(f"the TLS files of the kubeconfig cannot be used: {error}") from error
        self.session = self.pool_manager = self._create_pool_manager()


def _exists(path: str) -> bool:
    """Tell whether there is such a file. `Path.expanduser` would raise for a uid with no passwd entry and no HOME."""
    return os.path.isfile(os.path.expanduser(path))


async def _load_files(paths: str, context: str | None, configuration: Any) -> KubeConfigLoader:
    merged = KubeConfigMerger(paths).config
    loader = KubeConfigLoader(merged, active_context=context or None, config_base_path=None)
    await loader.load_and_set(configuration)
    user = loader._user
    if user is not None and "exec" in user and not configuration.api_key and not configuration.cert_file:
        raise ConfigException(f"the kubeconfig's exec plugin {user['exec']['command']} gave none")
    return loader


def _keeps(loader: KubeConfigLoader) -> bool:
    """Tell whether the credentials hold until the server refuses them: an exec plugin that named no end."""
    user = loader._user
    return user is None or ("exec" in user and not hasattr(loader, "exec_plugin_expiry"))


def _text(error: BaseException) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, (ConfigException, OSError, ValueError)) and text:
        return text
    return f"the kubeconfig is no such file ({type(error).__name__}: {text})"
