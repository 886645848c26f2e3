"""`python -m tests.gzip_gallery`: the gallery where no package of the extra `compress` is."""

from __future__ import annotations

import sys

for name in ("brotli", "backports.zstd", "compression.zstd"):
    sys.modules[name] = None  # type: ignore[assignment]

if __name__ == "__main__":
    from streamkit.__main__ import main

    main()
