"""The package's version, which modules of the package import without `hf_bat` itself."""

__version__ = "0.2.0"
