"""One paid call to APIYI: request building, both wire formats, transport, answer reading.

``ApiyiClient(settings).generate(request, spool, name)`` returns an :class:`Answer` that holds an image, or raises.
"""

from packshot.apiyi.classify import classify
from packshot.apiyi.client import ApiyiClient
from packshot.apiyi.expiry import url_expiry
from packshot.apiyi.model import Answer, ImageRequest
from packshot.apiyi.reading import read_answer
from packshot.apiyi.sizes import ASPECT_RATIOS, SIZES, pixels, size_text

__all__ = [
    "ASPECT_RATIOS",
    "SIZES",
    "Answer",
    "ApiyiClient",
    "ImageRequest",
    "classify",
    "pixels",
    "read_answer",
    "size_text",
    "url_expiry",
]
