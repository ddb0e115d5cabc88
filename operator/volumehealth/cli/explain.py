"""`volumehealth explain`: all that is known of one claim, Pod, volume or node."""

from collections.abc import Awaitable, Callable
from typing import Any

import click

from volumehealth.cli.options import cluster_options, form_option, namespace_of_operator, namespace_option
from volumehealth.cli.reading import camel_case, data_text, read_with, screen_width
from volumehealth.errors import NotFound
from volumehealth.model.clock import SystemClock
from volumehealth.model.ids import ClaimRef, is_name

_KINDS = {
    "pvc": "claim",
    "claim": "claim",
    "persistentvolumeclaim": "claim",
    "pod": "pod",
    "po": "pod",
    "pv": "pv",
    "persistentvolume": "pv",
    "node": "node",
    "no": "node",
}


@click.command()
@click.argument("what", nargs=-1, required=True, metavar="[KIND] NAME")
@namespace_option("Namespace of a claim or Pod named without it.")
@form_option
@namespace_of_operator
@cluster_options
def explain(
    what: tuple[str, ...], namespace: str, output: str, operator_namespace: str, kubeconfig: str | None
) -> None:
    """Show why a claim is judged as it is: policy, every last word, what is confirmed, what waits, its history.

    \b
    volumehealth explain shop/orders-db            a claim
    volumehealth explain pod shop/orders-db-0      the claims of a Pod
    volumehealth explain pv pvc-4711               the claim that a volume is bound to
    volumehealth explain node worker-2             a node and the claims in use there

    The operator is asked through the API server (get services/proxy). Without that right the claim is looked at once
    by the objects that you may read, and the page says what is not known.
    """  # noqa: D301 - click wants the control character
    kind, name = _target(what)
    ref = _ref(name, namespace) if kind in ("claim", "pod") else ClaimRef("", name)
    clock = SystemClock()
    from volumehealth.oneshot.explain import explain_claim, explain_pod, explain_volume
    from volumehealth.oneshot.explainnode import explain_node

    def node(api: Any) -> Awaitable[Any]:
        return explain_node(api, name, operator_in=operator_namespace, now=clock.now())

    def others(api: Any) -> Awaitable[Any]:
        if kind == "pv":
            return explain_volume(api, name, operator_in=operator_namespace, clock=clock)
        explains: Callable[..., Awaitable[Any]] = explain_pod if kind == "pod" else explain_claim
        return explains(api, ref, operator_in=operator_namespace, clock=clock)

    found = read_with(kubeconfig, node if kind == "node" else others)
    if output != "table":
        click.echo(data_text(camel_case(found), output), nl=False)
        return
    from volumehealth.cli.explainoutput import show_explanation, show_node

    pages = found if isinstance(found, list) else [found]
    if not pages:
        raise NotFound(f"the Pod {name} uses no claim")
    show: Callable[..., str] = show_node if kind == "node" else show_explanation
    click.echo("\n".join(show(page, width=screen_width()) for page in pages), nl=False)


def _target(what: tuple[str, ...]) -> tuple[str, str]:
    if len(what) == 1:
        return "claim", what[0]
    if len(what) != 2 or what[0].lower().removesuffix("s") not in _KINDS:
        kinds = "a claim (NAMESPACE/NAME), pod NAMESPACE/NAME, pv NAME or node NAME"
        raise click.UsageError(f"{' '.join(what)!r} is none of these: {kinds}")
    kind = _KINDS[what[0].lower().removesuffix("s")]
    if kind in ("pv", "node") and not is_name(what[1]):
        raise click.UsageError(f"{what[1]!r} can be the name of no {kind}")
    return kind, what[1]


def _ref(text: str, namespace: str) -> ClaimRef:
    ref = ClaimRef.parse(text if "/" in text or not namespace else f"{namespace}/{text}")
    if ref is None:
        raise click.UsageError(f"{text!r} is not NAMESPACE/NAME; or give the namespace with -n")
    if namespace and namespace != ref.namespace:
        raise click.UsageError(f"{text!r} is not in the namespace {namespace}")
    return ref
