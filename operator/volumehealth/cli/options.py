"""Flags that several commands share. Values stay text here: `settings` checks them, all at once."""

from collections.abc import Callable
from typing import Any

import click

from volumehealth.model.ids import is_name
from volumehealth.settings import DEFAULT_NAMESPACE, ENV_PREFIX

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


class _Name(click.ParamType[str]):
    """A name of an object of Kubernetes; empty where the option may be."""

    name = "name"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the name; it goes into the path of a request as it is."""
        if value and not is_name(value):
            self.fail(f"{value!r} can be the name of nothing in Kubernetes", param, ctx)
        return value


NAME = _Name()


def option(name: str, env: str, help_text: str, **more: Any) -> Decorator:
    """Make a text option that an environment variable can give as well."""
    return click.option(
        name, envvar=f"{ENV_PREFIX}{env}", show_envvar=True, default=None, help=help_text, **more
    )


def together(*options: Decorator) -> Decorator:
    """Apply options in the order in which help lists them."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for one in reversed(options):
            command = one(command)
        return command

    return decorate


def namespace_option(help_text: str) -> Decorator:
    """Make `-n`, as kubectl has it."""
    return click.option("-n", "--namespace", type=NAME, default="", metavar="NAMESPACE", help=help_text)


cluster_options = together(
    option(
        "--kubeconfig",
        "KUBECONFIG",
        "Kubeconfig file. Default: as kubectl finds it (KUBECONFIG, ~/.kube/config), then the pod's own credentials.",
        metavar="FILE",
    ),
)

form_option = click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json", "yaml"]),
    default="table",
    show_default=True,
    help="Form.",
)

namespace_of_operator = click.option(
    "--operator-namespace",
    type=NAME,
    envvar=f"{ENV_PREFIX}OPERATOR_NAMESPACE",
    show_envvar=True,
    default=DEFAULT_NAMESPACE,
    show_default=True,
    metavar="NAMESPACE",
    help="Where the operator runs.",
)

csi_options = together(
    option(
        "--csi-endpoint",
        "CSI_ENDPOINT",
        "Controller socket of a CSI driver: unix:///path, or HOST:PORT with TLS (plain only on loopback). "
        "NAME=ADDRESS names the driver up front. Repeat for more.",
        metavar="[NAME=]ADDRESS",
        multiple=True,
    ),
    option("--csi-tls-ca", "CSI_TLS_CA", "CA that signed the drivers' certificates.", metavar="FILE"),
    option("--csi-tls-cert", "CSI_TLS_CERT", "Our client certificate.", metavar="FILE"),
    option("--csi-tls-key", "CSI_TLS_KEY", "Its key.", metavar="FILE"),
    option(
        "--csi-secrets-dir",
        "CSI_SECRETS_DIR",
        "Directory with one file for each driver, named after it: a YAML or JSON map, sent as the secrets of CSI "
        "1.13's health calls.",
        metavar="DIR",
    ),
    option(
        "--csi-gets-in-flight",
        "CSI_GETS_IN_FLIGHT",
        "Calls for single volumes at once to one driver. Default: 4.",
        metavar="N",
    ),
)

busy_option = option(
    "--csi-busy-percent",
    "CSI_BUSY_PERCENT",
    "How much of the time one driver may be kept busy by us, in percent. Default: 10.",
    metavar="N",
)
"""Of who asks again and again."""

log_options = together(
    option("--log-format", "LOG_FORMAT", "text or json. Default: text.", metavar="FORMAT"),
    option("--log-level", "LOG_LEVEL", "debug, info, warning or error. Default: info.", metavar="LEVEL"),
)

health_option = option(
    "--health-address",
    "HEALTH_ADDRESS",
    "Where to serve /healthz and /readyz; empty turns it off. Default: 0.0.0.0:8081.",
    metavar="HOST:PORT",
)
