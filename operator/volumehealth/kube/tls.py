"""TLS as an access asks for it."""

import ssl

from volumehealth import errors
from volumehealth.kube.access import Access


def tls_context(access: Access) -> ssl.SSLContext:
    """Make the TLS settings of connections.

    Raises:
        ApiError: if its files cannot be used.
    """
    try:
        context = ssl.create_default_context(cafile=access.ca_file or None)
        if access.cert_file:
            context.load_cert_chain(access.cert_file, keyfile=access.key_file or None)
    except OSError as error:  # an SSLError is one
        raise errors.ApiError(
            f"the TLS files for {access.server} cannot be used: {error.strerror or error}"
        ) from error
    if not access.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    # Python 3.13's strict X.509 checks refuse certificates that kubectl accepts.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context
