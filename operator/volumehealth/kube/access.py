"""How to reach the API server and who we are to it, wherever that was read from."""

import hashlib
from dataclasses import dataclass
from pathlib import Path


class NoCredentials(Exception):  # noqa: N818 - named as those of `errors`
    """There are no credentials where they were looked for; the message says in one sentence why not."""


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
        acts_as: headers that say as whom this user acts (impersonation); of groups there may be several.
    """

    server: str
    authorization: str = ""
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    verify: bool = True
    server_name: str = ""
    proxy: str = ""
    acts_as: tuple[tuple[str, str], ...] = ()

    def files(self) -> tuple[tuple[str, bytes], ...]:
        """Return the files a connection is made with, each with a digest of what is in it.

        When it was changed says nothing: with each new token of a Pod, and after its own restart, the kubelet writes
        all files of the volume anew.

        Raises:
            OSError: if one cannot be read.
        """
        paths = (self.ca_file, self.cert_file, self.key_file)
        return tuple((path, hashlib.sha256(Path(path).read_bytes()).digest()) for path in paths if path)
