"""ZeroMQ for trio, in pure Python.

Everything public is here, in `trimq.abc` (contracts for transports and mechanisms), `trimq.wire` (ZMTP without
I/O) and `trimq.testing`. These modules only re-export; the code is in those that begin with an underscore.
"""

from ._abc import PeerInfo as PeerInfo
from ._context import Context as Context
from ._context import open_context as open_context
from ._endpoint import Endpoint as Endpoint
from ._endpoint import EndpointState as EndpointState
from ._errors import (
    AddressInUse as AddressInUse,
)
from ._errors import (
    AddressNotAvailable as AddressNotAvailable,
)
from ._errors import (
    ContextTerminated as ContextTerminated,
)
from ._errors import (
    HostUnreachable as HostUnreachable,
)
from ._errors import (
    IncompatibleProtocol as IncompatibleProtocol,
)
from ._errors import (
    InvalidEndpoint as InvalidEndpoint,
)
from ._errors import (
    MessageTooLarge as MessageTooLarge,
)
from ._errors import (
    NoIOThread as NoIOThread,
)
from ._errors import (
    NoSuchDevice as NoSuchDevice,
)
from ._errors import (
    ProtocolError as ProtocolError,
)
from ._errors import (
    ProtocolNotSupported as ProtocolNotSupported,
)
from ._errors import (
    SocketClosed as SocketClosed,
)
from ._errors import (
    StateError as StateError,
)
from ._errors import (
    ZMQError as ZMQError,
)
from ._message import Frame as Frame
from ._message import Message as Message
from ._message import MessageLike as MessageLike
from ._sockets._dealer_router import Dealer as Dealer
from ._sockets._dealer_router import Router as Router
from ._sockets._flow import wait_any as wait_any
from ._sockets._pair import Pair as Pair
from ._sockets._pipeline import Pull as Pull
from ._sockets._pipeline import Push as Push
from ._sockets._publish_subscribe import Pub as Pub
from ._sockets._publish_subscribe import Sub as Sub
from ._sockets._publish_subscribe import XPub as XPub
from ._sockets._publish_subscribe import XSub as XSub
from ._sockets._request_reply import Rep as Rep
from ._sockets._request_reply import Req as Req
from ._sockets._socket import Socket as Socket
from ._sockets._stream import Stream as Stream
from ._version import __version__ as __version__
