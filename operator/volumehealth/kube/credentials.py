"""Credentials as kubectl finds them, and found again before they are too old.

A kubeconfig file comes first, then the Pod we run in. The library that reads kubeconfigs is loaded when there is one: a
Pod must not pay for it.
"""

import os
import sys
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Protocol
from urllib.parse import urlsplit

from volumehealth import errors
from volumehealth.kube.access import Access, NoCredentials
from volumehealth.kube.incluster import is_in_cluster, read_in_cluster
from volumehealth.model.masking import mask

_KUBECONFIG = "KUBECONFIG"
_HOME_CONFIG = "~/.kube/config"


class _Files(Protocol):
    """What is needed of `kubeconfig.Kubeconfig`."""

    async def refresh(self) -> None:
        """See there."""

    async def access(self) -> Access:
        """See there."""


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
        self._files: _Files | None = None

    def prepare(self) -> None:
        """Load what reads kubeconfigs, if there is one: a tenth of a second that no event loop should take."""
        try:
            if self._paths():
                _library()
        except NoCredentials:
            pass  # `load` says so

    async def load(self) -> Access:
        """Read everything anew: files, exec plugins, tokens.

        Raises:
            ApiError: if there are no credentials, or they cannot be read.
        """
        try:
            paths = self._paths()
            self._files = await self._read(paths) if paths else None
            return await self._access()
        except (NoCredentials, OSError) as error:
            raise errors.ApiError(f"no credentials for the API server: {error}") from error

    async def refresh(self) -> Access:
        """Read again what expires: token files, the pod's token, an exec plugin's or OIDC's answer that ends soon.

        Raises:
            ApiError: if it cannot be read now.
        """
        try:
            if self._files is not None:
                await self._files.refresh()
            return await self._access()
        except (NoCredentials, OSError) as error:
            raise errors.ApiError(f"credentials cannot be renewed: {error}") from error

    async def _access(self) -> Access:
        access = await self._found()
        if not (access.authorization.isascii() and access.authorization.isprintable()):
            raise NoCredentials("the token holds characters that no header can have")
        for name, value in access.acts_as:
            if not (value.isascii() and value.isprintable()):
                raise NoCredentials(f"{name}: {value!r} holds characters that no header can have")
        for url in (access.server, access.proxy):
            _check_url(url)
        if urlsplit(access.server).scheme not in ("http", "https"):
            raise NoCredentials(f"the server {mask(access.server)!r} is not a URL with https:// or http://")
        return access

    async def _found(self) -> Access:
        if self._files is not None:
            return await self._files.access()
        if is_in_cluster(self._environ):
            return read_in_cluster(self._environ)
        raise NoCredentials(self._nothing_found())

    async def _read(self, paths: str) -> _Files:
        files: _Files = await _library().Kubeconfig.read(paths, self._context, self._environ)
        return files

    def _paths(self) -> str:
        """Return the kubeconfig files to merge, as the library takes them; empty if there is none."""
        if self._kubeconfig:
            if not _exists(self._kubeconfig):
                raise NoCredentials(f"no kubeconfig file exists at {self._kubeconfig}")
            return self._kubeconfig
        named = self._environ.get(_KUBECONFIG, "")
        paths = named.split(os.pathsep) if named else [_HOME_CONFIG]
        return os.pathsep.join(path for path in paths if path and _exists(path))

    def _nothing_found(self) -> str:
        named = self._environ.get(_KUBECONFIG, "")
        looked = (
            f"{_KUBECONFIG} names no file that exists ({named})" if named else f"there is no {_HOME_CONFIG}"
        )
        return f"{looked}, and this process does not run in a Pod"


def _check_url(url: str) -> None:
    """Refuse what no connection can be made to. Raises NoCredentials."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - it is parsed when it is read
        (parts.hostname or "").encode("idna")  # as whoever looks the host up does: `a..b` is no name
    except ValueError as error:
        raise NoCredentials(f"{mask(url)!r} cannot be read as a URL: {error}") from error


def _exists(path: str) -> bool:
    """Tell whether there is such a file. `Path.expanduser` would raise for a uid with no passwd entry and no HOME."""
    return os.path.isfile(os.path.expanduser(path))


def _library() -> ModuleType:
    """Import what reads kubeconfigs. Lets `kubernetes.aio` be imported by any uid, and without the rest of its package.

    It asks for the home directory at import, which a uid with no passwd entry and no HOME does not have; container
    runtimes then say `/`, and so do we. And `kubernetes/__init__` loads the synchronous client, websockets and OAuth,
    7 MB that no part of us uses; a package whose `__init__` was not run still finds its modules.
    """
    if os.path.expanduser("~") == "~":
        os.environ["HOME"] = "/"
    spec = find_spec("kubernetes")
    if spec is not None and "kubernetes" not in sys.modules:
        sys.modules["kubernetes"] = module_from_spec(spec)
    return import_module("volumehealth.kube.kubeconfig")
