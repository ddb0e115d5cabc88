"""What a plugin says of itself to the kubelet: the one call of `pluginregistration.Registration` that we make."""

from dataclasses import dataclass

from volumehealth.csi.channel import Channel, Method
from volumehealth.csi.endpoint import Endpoint, parse_endpoint
from volumehealth.csi.pb import pluginregistration_pb2 as pb
from volumehealth.csi.wire import Dial, GrpcWire
from volumehealth.errors import GarbledAnswer
from volumehealth.model.text import clean_message

CSI_PLUGIN = "CSIPlugin"
_GET_INFO = Method("pluginregistration.Registration", "GetInfo", pb.PluginInfo)


@dataclass(frozen=True, slots=True)
class PluginInfo:
    """Who registers at a socket.

    Attributes:
        kind: `CSIPlugin` for CSI drivers.
        name: the driver's.
        endpoint: where its node plugin answers.
    """

    kind: str
    name: str
    endpoint: Endpoint


async def plugin_info(socket: str, *, timeout: float, dial: Dial = GrpcWire) -> PluginInfo:
    """Ask the plugin behind a registration socket who it is.

    Args:
        socket: path of a socket below the kubelet's `plugins_registry`.
        timeout: seconds.
        dial: makes the connection.

    Raises:
        CsiError: as `Channel.call` does; GarbledAnswer also if the plugin's own socket is no path.
    """
    async with Channel(parse_endpoint(f"unix://{socket}"), dial=dial) as channel:
        reply = await channel.call(_GET_INFO, pb.InfoRequest(), timeout=timeout)
    path = reply.endpoint or socket  # as the kubelet reads it
    try:
        endpoint = parse_endpoint(path if path.startswith("unix://") else f"unix://{path}")
    except ValueError as error:
        raise GarbledAnswer(f"GetInfo: {clean_message(str(error))}", code="INTERNAL") from error
    return PluginInfo(clean_message(reply.type), clean_message(reply.name), endpoint)
