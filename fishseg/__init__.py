"""Cut fish out of photographs with a frozen vision transformer and a light decoder.

    import fishseg

    model = fishseg.load()
    result = model("photo.jpg")
    print([fish.length_px for fish in result.fish])

What is public is in `__all__`; docs/api.md explains it.
"""

from typing import TYPE_CHECKING

from fishseg import lazy

if TYPE_CHECKING:
    from fishseg import errors
    from fishseg.api import Fish, Model, Photograph, Result, load
    from fishseg.errors import FishsegError

__version__ = "0.1.0"
__all__ = [
    "Fish",
    "FishsegError",
    "Model",
    "Photograph",
    "Result",
    "__version__",
    "errors",
    "load",
]

# Imported when they are asked for: `import fishseg` costs nothing.
__getattr__ = lazy.names_of(
    __name__,
    {
        "Fish": "api",
        "FishsegError": "errors",
        "Model": "api",
        "Photograph": "api",
        "Result": "api",
        "load": "api",
    },
    modules=("errors",),
)
